/**
 * A program that is killed while it starts another in a jail: `node jailStarter.js HOW ISOLATION MARK`. It starts it as
 * a process, or runs it as a tool. The isolation is empty (what this machine has) or a kind; the mark is in the
 * environment of the jailed program.
 */
import { findIsolation, overrideIsolation } from '../../src/jail/isolation.js';
import { runJailed, startJailed } from '../../src/jail/jail.js';
import { findProgram } from '../../src/jail/programFiles.js';

const [how = '', kind = '', mark = ''] = process.argv.slice(2);
if (kind !== '')
  overrideIsolation({ kind: kind as 'landlock', as: process.geteuid?.() === 0 ? 'root' : 'user', reason: 'a test' });
await findIsolation();
const program = await findProgram('sleep', 'tool');
// Everything that happens once has happened; the test kills from here on.
process.stdout.write('ready\n');
const user = process.geteuid?.() === 0 ? { uid: 1_900_000_000, gid: 1_900_000_000 } : undefined;
const plan = { program, args: ['1000'], user };
const env = { MARK: mark };
if (how === 'tool') {
  const limits = { timeoutMs: 1_000_000, maxOutputBytes: 1, signal: new AbortController().signal };
  await runJailed(plan, { ...limits, env });
}
await startJailed(plan, { channels: 1, fds: [], env });
// Until it is killed.
setInterval(() => undefined, 60_000);

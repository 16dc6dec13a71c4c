/**
 * A program that is killed while it starts another in a jail: `node jailStarter.js ISOLATION MARK`. The isolation is
 * empty (what this machine has) or a kind; the mark is in the environment of the jailed program.
 */
import { findIsolation, overrideIsolation } from '../../src/jail/isolation.js';
import { startJailed } from '../../src/jail/jail.js';
import { findProgram } from '../../src/jail/programFiles.js';

const [kind = '', mark = ''] = process.argv.slice(2);
if (kind !== '')
  overrideIsolation({ kind: kind as 'landlock', as: process.geteuid?.() === 0 ? 'root' : 'user', reason: 'a test' });
await findIsolation();
const program = await findProgram('sleep', 'tool');
// Everything that happens once has happened; the test kills from here on.
process.stdout.write('ready\n');
await startJailed(
  { program, args: ['1000'], user: process.geteuid?.() === 0 ? { uid: 1_900_000_000, gid: 1_900_000_000 } : undefined },
  { channels: 1, fds: [], env: { MARK: mark } },
);
process.stdout.write('started\n');
// Until it is killed.
setInterval(() => undefined, 60_000);

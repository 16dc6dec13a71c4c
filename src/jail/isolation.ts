/** Finds out how programs can be isolated on this machine, by running a program in a test jail. */
import { messageOf } from '../common/errors.js';
import { locateProgram } from '../common/locateProgram.js';
import { runTool } from '../common/subprocess.js';
import { jailCommand, type Isolation } from './jailArguments.js';
import { findProgram } from './programFiles.js';

const LIMIT_MS = 10_000;
const MESSAGES_LIMIT = 1 << 16;
/** Any user but root. */
const SOMEBODY = { uid: 65534, gid: 65534 };

let found: Promise<Isolation> | undefined;

/** What this machine allows. Determined once; it does not change while the server runs. */
export function findIsolation(): Promise<Isolation> {
  return (found ??= probe());
}

/** Overrides how programs are isolated, until this is called with undefined; for tests. */
export function overrideIsolation(isolation: Isolation | undefined): void {
  found = isolation && Promise.resolve(isolation);
}

async function probe(): Promise<Isolation> {
  const isRoot = process.geteuid?.() === 0;
  const as = isRoot ? 'root' : 'user';
  try {
    const isolation: Isolation = {
      kind: 'namespaces',
      as,
      bwrap: await locateProgram('bwrap'),
      setpriv: await findProgram('setpriv', 'tool'),
    };
    const plan = { program: await findProgram('true', 'tool'), args: [], user: isRoot ? SOMEBODY : undefined };
    const { executable, args, cwd } = jailCommand(isolation, plan, undefined);
    const { exitCode, stderr } = await runTool(executable, args, {
      ...{ cwd, timeoutMs: LIMIT_MS, maxOutputBytes: MESSAGES_LIMIT, diesWithServer: true },
      signal: new AbortController().signal,
    });
    if (exitCode === 0) return isolation;
    return { kind: 'none', as, reason: stderr.trim().split('\n').at(-1) || 'bwrap did not finish in time' };
  } catch (error) {
    return { kind: 'none', as, reason: messageOf(error) };
  }
}

/** Finds out how programs can be isolated on this machine, by running a program in a test jail. */
import { messageOf } from '../common/errors.js';
import { locateProgram } from '../common/locateProgram.js';
import { PYTHON } from '../common/python.js';
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

/** Nothing keeps the programs of several sessions apart: what takes over one has the rights of the server itself. */
export function isShared({ kind, as }: Isolation): boolean {
  return kind === 'none' && as === 'user';
}

async function probe(): Promise<Isolation> {
  const as = process.geteuid?.() === 0 ? 'root' : 'user';
  const reason = await namespaces(as);
  if (typeof reason !== 'string') return reason;
  const confined: Isolation = { kind: 'landlock', as, reason };
  const failure = await failureIn(confined);
  return failure === undefined ? confined : { kind: 'none', as, reason: `${reason}; ${failure}` };
}

/** Jails; or why there are none. */
async function namespaces(as: Isolation['as']): Promise<Isolation | string> {
  try {
    const isolation: Isolation = {
      kind: 'namespaces',
      as,
      bwrap: await locateProgram('bwrap'),
      setpriv: await findProgram('setpriv', 'tool'),
    };
    const failure = await failureIn(isolation);
    if (failure !== undefined) return failure;
    const confined: Isolation = { ...isolation, python: await findProgram(PYTHON, 'python') };
    return (await failureIn(confined)) === undefined ? confined : isolation;
  } catch (error) {
    return messageOf(error);
  }
}

/** Starts a program in that way; undefined when that works. */
async function failureIn(isolation: Isolation): Promise<string | undefined> {
  try {
    const user = isolation.as === 'root' ? SOMEBODY : undefined;
    // With attributes, for which a jail is confined whatever the user.
    const plan = { program: await findProgram('true', 'tool'), args: [], user, attributes: true };
    const { executable, args, cwd } = jailCommand(isolation, plan, undefined);
    const { exitCode, stderr } = await runTool(executable, args, {
      ...{ cwd, timeoutMs: LIMIT_MS, maxOutputBytes: MESSAGES_LIMIT, diesWithServer: true },
      signal: new AbortController().signal,
    });
    return exitCode === 0 ? undefined : stderr.trim().split('\n').at(-1) || `${executable} did not finish in time`;
  } catch (error) {
    return messageOf(error);
  }
}

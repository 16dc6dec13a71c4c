/** Starts programs in jails: the one launcher of what this server starts for sessions. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import type { Duplex, Readable } from 'node:stream';
import { formatIdentity, identityOf, isRunning, type ProcessIdentity } from '../common/processIdentity.js';
import {
  runTool,
  startProcess,
  type ProcessExit,
  type RunOptions,
  type RunResult,
  type StartedProcess,
  type StartOptions,
} from '../common/subprocess.js';
import { sleep, withTimeout } from '../common/waiting.js';
import { findIsolation } from './isolation.js';
import { jailCommand, type JailPlan } from './jailArguments.js';

/** How long a jail may take to be made: it takes milliseconds, on a busy machine some more. */
const START_MS = 30_000;
const STATUS_LIMIT = 4096;
const MESSAGES_LIMIT = 4096;
const FIRST_FD = 3;
/** An exit status above this tells of a signal. */
const SIGNALLED = 128;
/** How often it is looked whether a process has ended that is not this one's child. */
const POLL_MS = 5;
/** How often it is looked whether a jail is complete. */
const COMPLETION_POLL_MS = 1;

/** Runs a short command in a jail; as {@link runTool}. */
export async function runJailed(
  plan: JailPlan,
  options: Omit<RunOptions, 'cwd' | 'diesWithServer'>,
): Promise<RunResult> {
  const isolation = await findIsolation();
  const { executable, args, cwd } = jailCommand(isolation, plan, undefined);
  const result = await runTool(executable, args, { ...options, cwd, diesWithServer: true });
  const signalled = isolation.kind === 'namespaces' && (result.exitCode ?? 0) > SIGNALLED;
  return signalled ? { ...result, exitCode: undefined } : result;
}

/**
 * Starts a program in a jail; as {@link startProcess}, with the number that the process has on the host.
 * @throws Error when it cannot be started
 */
export async function startJailed(
  plan: JailPlan,
  options: Omit<StartOptions, 'cwd' | 'extraChannel' | 'diesWithServer'>,
): Promise<StartedProcess> {
  const isolation = await findIsolation();
  const jailed = isolation.kind === 'namespaces';
  const statusFd = FIRST_FD + options.channels + options.fds.length;
  const { executable, args, cwd } = jailCommand(isolation, plan, jailed ? statusFd : undefined);
  const started = await startProcess(executable, args, {
    ...options,
    ...{ cwd, extraChannel: jailed, diesWithServer: true },
  });
  return jailed ? inside(started) : started;
}

/** The program in the jail, instead of the process that made the jail, waits for it, and ends as it does. */
async function inside(maker: StartedProcess): Promise<StartedProcess> {
  const release = hold([...maker.channels, ...maker.outputs]);
  const pid = await programOf(await firstProcess(maker)).catch((error: unknown) => {
    maker.kill('SIGKILL');
    throw error;
  });
  // undefined: it has ended already.
  const identity = await identityOf(pid);
  const exited = maker.exited.then(async (exit) => {
    if (identity !== undefined) await goneFor(identity);
    return innerExit(exit);
  });
  release();
  return {
    ...{ pid, exited, channels: maker.channels, outputs: maker.outputs, extraChannel: undefined },
    unref: () => maker.unref(),
    kill: (signal) => {
      // The end of the maker is that of the jail.
      if (signal === 'SIGKILL') maker.kill(signal);
      else if (identity !== undefined) void sendTo(identity, signal);
    },
  };
}

/** Process 1 of a jail, by its number on the host. */
async function firstProcess(maker: StartedProcess): Promise<number> {
  try {
    const late = (): Error => new Error(`the jail is not made within ${START_MS / 1000} s`);
    const status = await withTimeout(START_MS, late, everything(maker.extraChannel as Duplex, STATUS_LIMIT));
    const pid: unknown = status === '' ? undefined : (JSON.parse(status) as Record<string, unknown>)['child-pid'];
    if (typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 1) return pid;
  } catch (error) {
    maker.kill('SIGKILL');
    throw error;
  } finally {
    maker.extraChannel?.destroy();
  }
  maker.kill('SIGKILL');
  maker.outputs[1]?.removeAllListeners('readable');
  const said = await everything(maker.outputs[1] as Readable, MESSAGES_LIMIT);
  throw new Error(said.trim().split('\n').at(-1) || 'the jail cannot be made');
}

/** The program, which process 1 starts once the jail is complete; process 1 itself when it ended before that. */
async function programOf(first: number): Promise<number> {
  const limit = performance.now() + START_MS;
  while (performance.now() < limit) {
    const children = await readFile(`/proc/${first}/task/${first}/children`, 'latin1').catch(() => undefined);
    const program = Number.parseInt(children ?? String(first), 10);
    if (!Number.isNaN(program)) return program;
    await sleep(COMPLETION_POLL_MS);
  }
  throw new Error(`the jail is not complete within ${START_MS / 1000} s`);
}

/**
 * Keeps what streams have to say until it is released, also when the process ends meanwhile: Node.js then has all its
 * streams flow, whether anybody reads them or not.
 */
function hold(streams: readonly (Duplex | Readable)[]): () => void {
  const wait = (): void => undefined;
  for (const stream of streams) stream.on('readable', wait);
  return () => {
    for (const stream of streams) stream.off('readable', wait).pause();
  };
}

/** All that a stream says, to its end, or as much as the limit allows. */
function everything(stream: Duplex | Readable, limit: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const done = (): void => resolve(text);
    stream.on('error', done).once('end', done).once('close', done);
    stream.on('data', (bytes: Buffer) => {
      text = (text + bytes.toString('utf8')).slice(0, limit);
      if (text.length === limit) done();
    });
    stream.resume();
  });
}

function innerExit(exit: ProcessExit): ProcessExit {
  const number = (exit.exitCode ?? 0) - SIGNALLED;
  if (number <= 0) return exit;
  const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return { exitCode: undefined, signal: signal ?? `signal ${number}` };
}

/** Waits until a process is gone, and ends it: its user may then be another's. */
async function goneFor(identity: ProcessIdentity): Promise<void> {
  while ((await isRunning(identity)) === true) {
    await sendTo(identity, 'SIGKILL');
    await sleep(POLL_MS);
  }
}

async function sendTo(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<void> {
  if ((await isRunning(identity)) !== true) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH')
      throw new Error(`${formatIdentity(identity)} cannot be sent ${signal}`, { cause: error });
  }
}

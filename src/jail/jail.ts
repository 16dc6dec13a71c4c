/** Starts programs in jails. Everything that this server starts for sessions is started here. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import type { Duplex, Readable } from 'node:stream';
import { formatIdentity, identityOf, isRunning, type ProcessIdentity } from '../common/processIdentity.js';
import {
  FIRST_FD,
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

/** How long the creation of a jail may take: usually milliseconds, longer on a busy machine. */
const START_MS = 30_000;
const STATUS_LIMIT = 4096;
const MESSAGES_LIMIT = 4096;
/** An exit status above this means that the program was ended by a signal. */
const SIGNALLED = 128;
/** How often to check whether a process that is not a child of this one has ended. */
const POLL_MS = 5;
/** How often to check whether a jail is complete. */
const COMPLETION_POLL_MS = 1;

/** Runs a short command in a jail; otherwise like {@link runTool}. */
export async function runJailed(
  plan: JailPlan,
  options: Omit<RunOptions, 'cwd' | 'diesWithServer' | 'withChannel'>,
): Promise<RunResult> {
  const isolation = await findIsolation();
  const jailed = isolation.kind === 'namespaces';
  const statusFd = FIRST_FD + (options.fds?.length ?? 0);
  const { executable, args, cwd } = jailCommand(isolation, plan, jailed ? statusFd : undefined);
  const withChannel = (channel: Duplex, exited: Promise<unknown>): void => {
    // What the command has written, and how it exited, say why there was no jail.
    complete(channel, exited).catch(() => undefined);
  };
  const result = await runTool(executable, args, {
    ...{ ...options, cwd, diesWithServer: true },
    ...(jailed ? { withChannel } : {}),
  });
  const signalled = jailed && (result.exitCode ?? 0) > SIGNALLED;
  return signalled ? { ...result, exitCode: undefined } : result;
}

/**
 * Starts a program in a jail; otherwise like {@link startProcess}. `pid` is the number of the process on the host.
 * @throws Error if it cannot be started
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

/** The program in the jail, in place of the process that created the jail, waits for it and then exits as it did. */
async function inside(maker: StartedProcess): Promise<StartedProcess> {
  const release = hold([...maker.channels, ...maker.outputs]);
  const pid = await complete(maker.extraChannel as Duplex, maker.exited).catch(async (error: unknown) => {
    maker.kill('SIGKILL');
    if (error !== NOT_CREATED) throw error;
    maker.outputs[1]?.removeAllListeners('readable');
    const said = await everything(maker.outputs[1] as Readable, MESSAGES_LIMIT);
    throw new Error(said.trim().split('\n').at(-1) || NOT_CREATED.message);
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
      // When the maker ends, the jail ends.
      if (signal === 'SIGKILL') maker.kill(signal);
      // The caller waits for the program to end, and kills it if it does not.
      else if (identity !== undefined) sendTo(identity, signal).catch(() => undefined);
    },
  };
}

/** A jail that ended before it was there; what made it says why. */
const NOT_CREATED = new Error('the jail cannot be created');

/** Waits until the jail is complete, and lets it continue without its guard; the number on the host of the program in it. */
async function complete(channel: Duplex, exited: Promise<unknown>): Promise<number> {
  // The guard, which reads from it, may have ended with the jail.
  channel.on('error', () => undefined);
  try {
    const program = await programOf(await firstProcess(channel, exited));
    // From now on, the jail ends with the server by itself.
    await new Promise<void>((resolve) => channel.end('\n', resolve));
    return program;
  } finally {
    channel.destroy();
  }
}

/** The number on the host of process 1 of a jail. */
async function firstProcess(channel: Duplex, exited: Promise<unknown>): Promise<number> {
  const late = (): Error => new Error(`the jail was not created within ${START_MS / 1000} s`);
  // Then the guard ends, and with it what there is to read.
  void exited.then(() => channel.end());
  const status = await withTimeout(START_MS, late, statusOf(channel));
  const pid: unknown = status === '' ? undefined : (JSON.parse(status) as Record<string, unknown>)['child-pid'];
  if (typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 1) return pid;
  throw NOT_CREATED;
}

/**
 * The program, which process 1 starts once the jail is complete; process 1 itself if it ended before that. By then, the
 * jail ends with the server: process 1 asks for that before it waits for the program.
 */
async function programOf(first: number): Promise<number> {
  const limit = performance.now() + START_MS;
  while (performance.now() < limit) {
    const children = await readFile(`/proc/${first}/task/${first}/children`, 'latin1').catch(() => undefined);
    const program = Number.parseInt(children ?? String(first), 10);
    if (!Number.isNaN(program) && (program === first || (await isWaiting(first)))) return program;
    await sleep(COMPLETION_POLL_MS);
  }
  throw new Error(`the jail was not complete within ${START_MS / 1000} s`);
}

/** Whether a process sleeps, or has ended. */
async function isWaiting(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  return stat === undefined || /\) [SZX] /.test(stat);
}

/**
 * Keeps the data of streams until it is released, even if the process ends meanwhile: Node.js then switches all its
 * streams to flowing mode, whether they have readers or not.
 */
function hold(streams: readonly (Duplex | Readable)[]): () => void {
  const wait = (): void => undefined;
  for (const stream of streams) stream.on('readable', wait);
  return () => {
    for (const stream of streams) stream.off('readable', wait).pause();
  };
}

/** What bubblewrap reports: one object of JSON. */
function statusOf(channel: Duplex): Promise<string> {
  return everything(channel, STATUS_LIMIT, (text) => text.includes('}'));
}

/** All text from a stream, up to its end, the limit, or until it is whole. */
function everything(
  stream: Duplex | Readable,
  limit: number,
  whole: (text: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const done = (): void => resolve(text);
    stream.on('error', done).once('end', done).once('close', done);
    stream.on('data', (bytes: Buffer) => {
      text = (text + bytes.toString('utf8')).slice(0, limit);
      if (text.length === limit || whole(text)) done();
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

/** Kills a process and waits until it has ended: only then may its user ID be reused. */
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

/**
 * Child processes. The only importer of `execa`.
 *
 * There are two kinds: {@link runTool} for a short-lived command whose output is needed,
 * and {@link startProcess} for one that lives as long as a session. Neither uses a shell
 * or inherits the server's environment.
 */
import { getDefaultHighWaterMark, setDefaultHighWaterMark, type Duplex, type Readable } from 'node:stream';
import type { Socket } from 'node:net';
import { execa, type Options } from 'execa';
import { locateProgram } from './locateProgram.js';
import { inTime, onAbort } from './waiting.js';

/** The search path for commands, and a locale whose messages can be parsed. */
const BASE_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
};

/** Input and limits of a short-lived command. */
export interface RunOptions {
  /** Written to its standard input, which is then closed. */
  readonly input?: string;
  /** Descriptor of the file that its standard output goes to; by default, it is part of the result. */
  readonly stdout?: number;
  /** Descriptors that it inherits as 3, 4, ... */
  readonly fds?: readonly number[];
  /** Environment variables besides `PATH` and `LC_ALL`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory; by default, the server's. */
  readonly cwd?: string;
  /** It is killed after this time ... */
  readonly timeoutMs: number;
  /** ... or when it has written more than this to one of its outputs. */
  readonly maxOutputBytes: number;
  readonly signal: AbortSignal;
  /** It ends by itself when the server does, whatever the server ends of. */
  readonly diesWithServer?: boolean;
}

/** How a short-lived command exited. */
export interface RunResult {
  /** undefined: killed by a signal. */
  readonly exitCode: number | undefined;
  /** Empty when it was redirected to a file. */
  readonly stdout: string;
  readonly stderr: string;
  /** Killed because of `timeoutMs` or `maxOutputBytes`. */
  readonly overLimit: boolean;
}

/**
 * Runs a command and waits until it exits. A non-zero exit code is a result, not an
 * error; rejects only when it cannot be started, or with the reason of `signal`.
 */
export async function runTool(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  options.signal.throwIfAborted();
  const [program, ...words] = await tied(command, args, options.diesWithServer);
  options.signal.throwIfAborted();
  const child = execa(program, words, {
    ...(options.input === undefined ? {} : { input: options.input }),
    stdio: stdio(options.input === undefined ? 'ignore' : 'pipe', options.stdout ?? 'pipe', 0, options.fds ?? []),
    env: { ...BASE_ENVIRONMENT, ...options.env },
    extendEnv: false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    encoding: 'utf8',
    maxBuffer: options.maxOutputBytes,
    // In its own process group, so that its children can be killed with it.
    detached: true,
    cleanup: false,
    reject: false,
    stripFinalNewline: false,
  });
  // SIGKILL: tools have nothing to save, and must not be able to ignore it.
  const kill = (): void => killGroup(child.pid);
  const stopListening = onAbort(options.signal, kill);
  runningTools.add(kill);
  try {
    const timedOut = (await inTime(options.timeoutMs, 'late', child)) === 'late';
    if (timedOut) kill();
    const result = await child;
    options.signal.throwIfAborted();
    const overLimit = timedOut || result.isMaxBuffer;
    if (result.isMaxBuffer) kill();
    if (result.exitCode === undefined && result.signal === undefined && !overLimit) throw notStarted(command, result);
    return {
      exitCode: result.exitCode,
      stdout: typeof result.stdout === 'string' ? result.stdout : '',
      stderr: typeof result.stderr === 'string' ? result.stderr : '',
      overLimit,
    };
  } finally {
    stopListening();
    runningTools.delete(kill);
  }
}

/** Tools do not outlive the server. */
const runningTools = new Set<() => void>();
process.on('exit', () => {
  for (const kill of runningTools) kill();
});

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has already exited.
  }
}

/** Options of a long-lived process. */
export interface StartOptions {
  /** How many two-way channels it gets, as descriptors 3, 4, ... */
  readonly channels: number;
  /** Descriptors that it inherits after the channels. */
  readonly fds: readonly number[];
  /** Its complete environment, except for `PATH`. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** One more channel, with the descriptor after all others. */
  readonly extraChannel?: boolean;
  /** It ends by itself when the server does, whatever the server ends of. */
  readonly diesWithServer?: boolean;
}

/** How a long-lived process exited. */
export interface ProcessExit {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
}

/** A running process. */
export interface StartedProcess {
  readonly pid: number;
  /** Socket pairs, one for each of {@link StartOptions.channels}; paused, until their reader resumes them. */
  readonly channels: readonly Duplex[];
  /** The one that was asked for by {@link StartOptions.extraChannel}. */
  readonly extraChannel: Duplex | undefined;
  /** Standard output and standard error; paused as well. */
  readonly outputs: readonly Readable[];
  /** Resolves when it has been reaped, and never rejects; its outputs may still hold data. */
  readonly exited: Promise<ProcessExit>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** The server can exit while it runs. */
  unref(): void;
}

/**
 * The descriptor of this process's end of a channel, to be inherited by another process.
 * @throws Error when the channel is closed
 */
export function descriptorOf(channel: Duplex): number {
  // Node has no public name for it, and passes streams on in no other way than by this number.
  const { _handle: handle } = channel as { readonly _handle?: { readonly fd?: number } | null };
  if (channel.destroyed || handle?.fd === undefined || handle.fd < 0) throw new Error('the channel is closed');
  return handle.fd;
}

/**
 * A channel that is paused goes on to read until so many bytes wait. With Node's default of
 * 64 KiB, a process that writes little at a time would wake this one a thousand times; with 1, a
 * pause takes effect immediately.
 */
const CHANNEL_BUFFER = 1;

/** Reduces the buffers of streams; Node has no option for those of a child process. */
function bufferingLittle<Made>(make: () => Made): Made {
  const usual = getDefaultHighWaterMark(false);
  setDefaultHighWaterMark(false, CHANNEL_BUFFER);
  try {
    return make();
  } finally {
    setDefaultHighWaterMark(false, usual);
  }
}

/**
 * Starts a process in its own session (setsid), so that Control-C on the server's
 * terminal reaches only the server, which then shuts its children down in order.
 *
 * @throws Error with the system's error code as `code` when it cannot be started
 */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: StartOptions,
): Promise<StartedProcess> {
  const [program, ...words] = await tied(command, args, options.diesWithServer);
  const child = bufferingLittle(() =>
    execa(program, words, {
      stdio: stdio('ignore', 'pipe', options.channels, options.fds, options.extraChannel),
      env: { PATH: BASE_ENVIRONMENT['PATH'] as string, ...options.env },
      extendEnv: false,
      cwd: options.cwd,
      detached: true,
      cleanup: false,
      buffer: false,
      reject: false,
    }),
  );
  // Not the result of execa, which waits for the streams: a channel without a reader never ends.
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode: exitCode ?? undefined, signal: signal ?? undefined }));
  });
  const { pid } = child;
  if (pid === undefined) {
    const result = await child;
    throw notStarted(command, result);
  }
  const channels = Array.from({ length: options.channels }, (_, index) => child.stdio[3 + index] as unknown as Duplex);
  const extraChannel =
    options.extraChannel === true
      ? (child.stdio[3 + options.channels + options.fds.length] as unknown as Duplex)
      : undefined;
  const outputs = [child.stdout as Readable, child.stderr as Readable];
  // execa has streams flow that nobody reads by the next turn of the event loop: what comes before a late reader would be lost.
  for (const stream of [...channels, ...outputs, ...(extraChannel === undefined ? [] : [extraChannel])]) stream.pause();
  return {
    pid,
    channels,
    extraChannel,
    outputs,
    exited,
    kill: (signal) => void child.kill(signal),
    unref: () => {
      child.unref();
      for (const stream of [...channels, ...outputs]) (stream as Partial<Socket>).unref?.();
    },
  };
}

/** execa passes descriptors on at any position, but its types allow them only at the first three. */
function stdio(
  input: 'ignore' | 'pipe',
  output: 'pipe' | number,
  channels: number,
  fds: readonly number[],
  extraChannel = false,
): NonNullable<Options['stdio']> {
  return [
    ...[input, output, 'pipe'],
    ...Array<'pipe'>(channels).fill('pipe'),
    ...fds,
    ...(extraChannel ? ['pipe'] : []),
  ] as unknown as NonNullable<Options['stdio']>;
}

/**
 * A command that the kernel ends when the server has ended, also when that had no time to end anything.
 * @throws Error with `code` ENOENT when there is no such program
 */
async function tied(command: string, args: readonly string[], already = false): Promise<[string, ...string[]]> {
  if (already) return [command, ...args];
  return ['setpriv', '--pdeathsig', 'KILL', '--', await locateProgram(command), ...args];
}

/** The system's own error, with its `code`. */
function notStarted(command: string, result: { readonly cause?: unknown }): unknown {
  return result.cause ?? new Error(`${command} cannot be started`);
}

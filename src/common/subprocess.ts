/**
 * Child processes. The only importer of `node:child_process`.
 *
 * There are two kinds: {@link runTool} for a short-lived command whose output is needed,
 * and {@link startProcess} for one that lives as long as a session. Neither uses a shell
 * or inherits the server's environment.
 */
import { spawn, type ChildProcess, type SpawnOptions, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { getDefaultHighWaterMark, setDefaultHighWaterMark, type Duplex, type Readable } from 'node:stream';
import type { Socket } from 'node:net';
import { descriptors } from './descriptors.js';
import { locateProgram } from './locateProgram.js';
import { inTime, onAbort } from './waiting.js';

/** The search path for commands, and a locale whose messages can be parsed. */
const BASE_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
};

/** The first descriptor after the standard streams. */
export const FIRST_FD = 3;

/** Input and limits of a short-lived command. */
export interface RunOptions {
  /** Written to its standard input, which is then closed. */
  readonly input?: string;
  /** Descriptor of the file for its standard output; by default, the output is part of the result. */
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
  /** Whether it ends when the server ends, whatever the cause. */
  readonly diesWithServer?: boolean;
  /**
   * Takes a channel whose other end it inherits after `fds`, and must close it; the run does not end before that.
   * `exited` resolves when the command has exited.
   */
  readonly withChannel?: (channel: Duplex, exited: Promise<unknown>) => void;
}

/** How a short-lived command exited. */
export interface RunResult {
  /** undefined: killed by a signal. */
  readonly exitCode: number | undefined;
  /** Empty if it was redirected to a file. */
  readonly stdout: string;
  readonly stderr: string;
  /** Killed because of `timeoutMs` or `maxOutputBytes`. */
  readonly overLimit: boolean;
}

/**
 * Runs a command and waits until it exits. A non-zero exit code is a result, not an
 * error; rejects only if it cannot be started, or with the reason of `signal`.
 */
export async function runTool(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  options.signal.throwIfAborted();
  const [program, ...words] = await tied(command, args, options.diesWithServer);
  options.signal.throwIfAborted();
  const child = await start(program, words, {
    stdio: () =>
      stdio(
        options.input === undefined ? 'ignore' : 'pipe',
        options.stdout ?? 'pipe',
        0,
        options.fds ?? [],
        options.withChannel !== undefined,
      ),
    env: { ...BASE_ENVIRONMENT, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    // In its own process group, so that its children can be killed with it.
    detached: true,
  });
  // SIGKILL: tools have nothing to save, and must not be able to ignore it.
  const kill = (): void => killGroup(child.pid);
  const stopListening = onAbort(options.signal, kill);
  runningTools.add(kill);
  try {
    // It may end before it has read everything.
    child.stdin?.on('error', () => undefined).end(options.input);
    const outputs = [child.stdout, child.stderr].map((stream) => new Collected(stream, options.maxOutputBytes, kill));
    const closed = once(child, 'close') as Promise<[number | null]>;
    options.withChannel?.(child.stdio[FIRST_FD + (options.fds?.length ?? 0)] as Duplex, once(child, 'exit'));
    const timedOut = (await inTime(options.timeoutMs, 'late', closed)) === 'late';
    if (timedOut) kill();
    const [exitCode] = await closed;
    options.signal.throwIfAborted();
    const [stdout = '', stderr = ''] = outputs.map(({ text }) => text);
    const overLimit = timedOut || outputs.some(({ full }) => full);
    return { exitCode: exitCode ?? undefined, stdout, stderr, overLimit };
  } finally {
    stopListening();
    runningTools.delete(kill);
  }
}

/** What a command writes to one of its outputs, up to a limit. */
class Collected {
  readonly #pieces: Buffer[] = [];
  #size = 0;

  /** @param onFull called when there is more than `limit`, bytes */
  constructor(stream: Readable | null, limit: number, onFull: () => void) {
    stream?.on('error', () => undefined);
    stream?.on('data', (bytes: Buffer) => {
      if (this.full) return;
      this.#pieces.push(bytes.subarray(0, limit - this.#size));
      this.#size += bytes.length;
      this.full = this.#size > limit;
      if (this.full) onFull();
    });
  }

  /** There was more than the limit. */
  full = false;

  get text(): string {
    return Buffer.concat(this.#pieces).toString('utf8');
  }
}

/** Resolves when the next process may be started. */
let nextTurn: Promise<void> = Promise.resolve();

/** Lets one process start in each turn of the event loop: starting one blocks the loop for several milliseconds. */
function turnToStart(): Promise<void> {
  const turn = nextTurn;
  nextTurn = turn.then(() => new Promise((resolve) => void setImmediate(resolve)));
  return turn;
}

/**
 * Starts a program.
 *
 * Uses Node's own function: if the start fails for lack of descriptors, a library such as execa loses the child, and
 * with it the only place to listen for its `error` event, which then ends the server.
 * @throws Error with the system's error code as `code`; GuestfsError LIMIT_EXCEEDED without enough free descriptors
 */
async function start(
  program: string,
  args: readonly string[],
  options: Omit<SpawnOptions, 'stdio'> & { readonly stdio: () => readonly unknown[] },
  spawnChild: (make: () => ChildProcess) => ChildProcess = (make) => make(),
): Promise<ChildProcess> {
  await turnToStart();
  // Each stream is a pair of sockets until the child has its end.
  const stdio = options.stdio();
  const release = descriptors.claim(2 * stdio.length);
  let child: ChildProcess;
  try {
    child = spawnChild(() => spawn(program, args, { ...options, stdio: stdio as StdioOptions }));
  } finally {
    release();
  }
  // The listener stays as long as the child exists: signals that cannot be sent are reported to it as well.
  const failed = new Promise<never>((_resolve, reject) => child.on('error', reject));
  failed.catch(() => undefined);
  if (child.pid === undefined) await failed;
  return child;
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
  /**
   * Descriptors that it inherits after the channels. One that whoever is at its other end can close is given as a
   * function, which is called at the very start: by then, its number could be that of another file.
   */
  readonly fds: readonly (number | (() => number))[];
  /** Its complete environment, except for `PATH`. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Whether it gets one more channel, with the descriptor after all others. */
  readonly extraChannel?: boolean;
  /** Whether it ends when the server ends, whatever the cause. */
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
  /** Socket pairs, one for each of {@link StartOptions.channels}; paused until their reader resumes them. */
  readonly channels: readonly Duplex[];
  /** The channel requested by {@link StartOptions.extraChannel}. */
  readonly extraChannel: Duplex | undefined;
  /** Standard output and standard error; paused as well. */
  readonly outputs: readonly Readable[];
  /** Resolves when it has been reaped, and never rejects; its outputs may still contain data. */
  readonly exited: Promise<ProcessExit>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** The server can exit while it runs. */
  unref(): void;
}

/**
 * The descriptor of this process's end of a channel, to be inherited by another process.
 * @throws Error if the channel is closed
 */
export function descriptorOf(channel: Duplex): number {
  // Node has no public name for the descriptor, and can pass a stream on only by this number.
  const { _handle: handle } = channel as { readonly _handle?: { readonly fd?: number } | null };
  if (channel.destroyed || handle?.fd === undefined || handle.fd < 0) throw new Error('the channel is closed');
  return handle.fd;
}

/**
 * A paused channel continues to read until this many bytes are buffered. With Node's default of
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
 * terminal reaches only the server, which then shuts its children down properly.
 *
 * @throws Error with the system's error code as `code` if it cannot be started
 */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: StartOptions,
): Promise<StartedProcess> {
  const [program, ...words] = await tied(command, args, options.diesWithServer);
  const child = await start(
    program,
    words,
    {
      stdio: () => stdio('ignore', 'pipe', options.channels, options.fds, options.extraChannel),
      env: { PATH: BASE_ENVIRONMENT['PATH'] as string, ...options.env },
      cwd: options.cwd,
      detached: true,
    },
    bufferingLittle,
  );
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode: exitCode ?? undefined, signal: signal ?? undefined }));
  });
  const channels = Array.from(
    { length: options.channels },
    (_, index) => child.stdio[FIRST_FD + index] as unknown as Duplex,
  );
  const extraChannel =
    options.extraChannel === true
      ? (child.stdio[FIRST_FD + options.channels + options.fds.length] as unknown as Duplex)
      : undefined;
  const outputs = [child.stdout as Readable, child.stderr as Readable];
  for (const stream of [...channels, ...outputs, ...(extraChannel === undefined ? [] : [extraChannel])]) {
    // Data that arrives before its reader listens must not be lost.
    stream.pause();
    // When a process is killed, its connections are reset; `exited` reports that better.
    stream.on('error', () => undefined);
  }
  return {
    pid: child.pid as number,
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

/** The standard streams, then the channels and descriptors. */
function stdio(
  input: 'ignore' | 'pipe',
  output: 'pipe' | number,
  channels: number,
  fds: StartOptions['fds'],
  extraChannel = false,
): readonly unknown[] {
  const pipes = (count: number): 'pipe'[] => Array<'pipe'>(count).fill('pipe');
  const inherited = fds.map((fd) => (typeof fd === 'function' ? fd() : fd));
  return [input, output, 'pipe', ...pipes(channels), ...inherited, ...pipes(extraChannel ? 1 : 0)];
}

/**
 * A command that the kernel kills when the server has ended, even if the server had no time to clean up.
 * @throws Error with `code` ENOENT if there is no such program
 */
async function tied(command: string, args: readonly string[], already = false): Promise<[string, ...string[]]> {
  if (already) return [command, ...args];
  return ['setpriv', '--pdeathsig', 'KILL', '--', await locateProgram(command), ...args];
}

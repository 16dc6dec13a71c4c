/** Runs the programs of a build; a failure is reported with the end of the program's output. */
import { execa } from 'execa';

/** Receives one line of a build's progress, without its newline. */
export type Log = (line: string) => void;

/** What every step of a build receives. */
export interface BuildContext {
  readonly log: Log;
  /** Cancels the build: the running command is killed. */
  readonly signal: AbortSignal;
}

/** How many lines of a failed command's output go into its error. */
const TAIL_LINES = 30;

/** A command of the build failed. */
export class BuildCommandError extends Error {
  override readonly name = 'BuildCommandError';

  /**
   * @param command the command line, as typed in a shell
   * @param outcome how it ended
   * @param tail the end of what it printed
   */
  constructor(
    readonly command: string,
    readonly outcome: string,
    readonly tail: string,
  ) {
    super(`${command}\n${outcome}${tail === '' ? '' : `; the end of its output:\n${tail}`}`);
  }
}

/** Options of {@link run}. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each line the command prints, on either stream. */
  readonly onLine?: (line: string) => void;
}

/**
 * Runs a command to its end and returns what it printed on standard output.
 * @throws BuildCommandError if its exit code is not 0
 */
export async function run(
  context: BuildContext,
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  context.signal.throwIfAborted();
  const child = execa(command, args, {
    all: true,
    reject: false,
    cancelSignal: context.signal,
    forceKillAfterDelay: 5000,
    // Some messages are parsed, which works only if they are not translated.
    env: { LC_ALL: 'C.UTF-8', ...options.env },
    stdin: 'ignore',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const { onLine } = options;
  if (onLine !== undefined) {
    for await (const line of child.iterable({ from: 'all' })) onLine(line);
  }
  const result = await child;
  context.signal.throwIfAborted();
  if (result.failed) {
    throw new BuildCommandError(result.escapedCommand, describeOutcome(result), lastLines(String(result.all ?? '')));
  }
  return String(result.stdout);
}

/** Sends bytes through a command and returns its output. */
export async function runFilter(
  context: BuildContext,
  command: string,
  args: readonly string[],
  input: Uint8Array,
): Promise<Buffer> {
  const result = await execa(command, args, {
    input,
    encoding: 'buffer',
    maxBuffer: 1 << 30,
    reject: false,
    cancelSignal: context.signal,
  });
  context.signal.throwIfAborted();
  if (result.failed) {
    const text = Buffer.from(result.stderr ?? []).toString('utf8');
    throw new BuildCommandError(result.escapedCommand, describeOutcome(result), lastLines(text));
  }
  return Buffer.from(result.stdout.buffer, result.stdout.byteOffset, result.stdout.byteLength);
}

/** How a command ended, in words. */
function describeOutcome(result: Readonly<Partial<Record<'exitCode' | 'signal' | 'code', unknown>>>): string {
  if (result.code === 'ENOENT') return 'no such program';
  if (typeof result.signal === 'string') return `killed by ${result.signal}`;
  return `exited with ${String(result.exitCode ?? result.code)}`;
}

/** The last lines of `text`, without the empty ones at its very end. */
export function lastLines(text: string, count = TAIL_LINES): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

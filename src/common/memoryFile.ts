/**
 * Files in memory that can be sealed: a sealed file can no longer be changed, not even through
 * descriptors open for writing (memfd_create(2), F_ADD_SEALS in fcntl(2)).
 *
 * Node.js has no function for this, so a short-lived Python process creates each of them,
 * and this process opens it through /proc.
 */
import { open, type FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ISOLATED_PYTHON } from './python.js';
import { runTool, startProcess } from './subprocess.js';
import { unlessAborted, withTimeout } from './waiting.js';

/** Located in the source tree, since the compiler does not copy it. */
const PROGRAM = fileURLToPath(new URL('../../../src/common/memoryFile.py', import.meta.url));
const [PYTHON = '', ...ISOLATED] = ISOLATED_PYTHON;
/** Copying a few hundred megabytes takes one second, or ten on a busy machine. */
const LIMIT_MS = 120_000;
const MESSAGES_LIMIT = 64 * 1024;

/** A memory file, and the digest of its source. */
export interface LoadedMemoryFile {
  /** Sealed. */
  readonly file: FileHandle;
  /** The digest that {@link keepMemoryFile} returned when the source was written. */
  readonly digest: string;
}

/** Creates a file of `size` zero bytes. */
export async function createMemoryFile(size: number, signal: AbortSignal): Promise<FileHandle> {
  return (await make(['create', String(size)], [], signal)).file;
}

/** Creates a sealed file with the content of `source`. */
export async function loadMemoryFile(source: FileHandle, signal: AbortSignal): Promise<LoadedMemoryFile> {
  return make(['load'], [source.fd], signal);
}

/** Seals the files, which can never be changed again. They must not have writable mappings. */
export async function sealMemoryFiles(files: readonly FileHandle[], signal: AbortSignal): Promise<void> {
  await run(['seal', String(files.length)], files, signal);
}

/**
 * Copies `source` to `target`, with holes where there are only zeros, and syncs it.
 * @returns a digest of size and content
 * @throws Error, for example if there is no space
 */
export async function keepMemoryFile(source: FileHandle, target: FileHandle, signal: AbortSignal): Promise<string> {
  return (await run(['keep'], [source, target], signal)).trim();
}

/**
 * Writes the contents of `source` to `target` without the zeros: where holes are not kept, as in layers of container
 * images.
 * @returns the digest that {@link keepMemoryFile} returns
 */
export async function packMemoryFile(source: FileHandle, target: FileHandle, signal: AbortSignal): Promise<string> {
  return (await run(['pack'], [source, target], signal)).trim();
}

/** Creates a sealed file from what {@link packMemoryFile} has written. */
export async function unpackMemoryFile(source: FileHandle, signal: AbortSignal): Promise<LoadedMemoryFile> {
  return make(['unpack'], [source.fd], signal);
}

async function run(command: readonly string[], files: readonly FileHandle[], signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr, overLimit } = await runTool(PYTHON, [...ISOLATED, PROGRAM, ...command], {
    fds: files.map(({ fd }) => fd),
    timeoutMs: LIMIT_MS,
    maxOutputBytes: MESSAGES_LIMIT,
    signal,
  });
  if (exitCode !== 0) throw overLimit ? tookTooLong(command) : new Error(lastLine(stderr));
  return stdout;
}

async function make(
  command: readonly string[],
  fds: readonly number[],
  signal: AbortSignal,
): Promise<LoadedMemoryFile> {
  signal.throwIfAborted();
  const started = await startProcess(PYTHON, [...ISOLATED, PROGRAM, ...command], {
    channels: 1,
    fds,
    env: { LC_ALL: 'C' },
    cwd: '/',
  });
  const channel = started.channels[0] as Duplex;
  channel.on('error', () => undefined);
  let messages = '';
  for (const output of started.outputs)
    output
      .on('data', (bytes: Buffer) => {
        messages = (messages + bytes.toString('utf8')).slice(-MESSAGES_LIMIT);
      })
      .resume();
  try {
    const answer = await unlessAborted(
      withTimeout(LIMIT_MS, () => tookTooLong(command), firstLine(channel)),
      signal,
    );
    const [, fd, digest = ''] = /^(\d+)(?: ([0-9a-f]{64}))?$/.exec(answer) ?? [];
    if (fd === undefined) {
      await started.exited;
      throw new Error(`cannot create a memory file: ${lastLine(messages)}`);
    }
    return { file: await open(`/proc/${started.pid}/fd/${fd}`, 'r+'), digest };
  } finally {
    channel.destroy();
    // It exits when its channel is closed, unless it hangs.
    started.kill('SIGKILL');
  }
}

function tookTooLong([what]: readonly string[]): Error {
  return new Error(`${what ?? ''}: took longer than ${LIMIT_MS / 1000} s`);
}

/** The first line of output, or all of it if there is no newline. */
function firstLine(channel: Duplex): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    channel
      .on('data', (bytes: Buffer) => {
        text += bytes.toString('utf8');
        const end = text.indexOf('\n');
        if (end !== -1) resolve(text.slice(0, end));
      })
      .resume();
    channel.once('close', () => resolve(text));
    channel.once('end', () => resolve(text));
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/**
 * Passes files to a running qemu. A descriptor is sent over a Unix socket as ancillary data, which
 * Node.js does not support, so a short-lived Python process does it over a second monitor.
 */
import type { FileHandle } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runTool } from '../common/subprocess.js';
import type { QemuCommandLine } from './commandLine.js';
import type { FdSets } from './fdSets.js';

/** Located in the source tree, since the compiler does not copy it. */
const PROGRAM = fileURLToPath(new URL('../../../src/qemu/fdSender.py', import.meta.url));
const LIMIT_MS = 30_000;
const MESSAGES_LIMIT = 64 * 1024;

/** Number of the first fd set: above those of the command line, which equal numbers of descriptors. */
const FIRST_SET = 10_000;

/** Adds the monitor that {@link LateFdSets.send} connects to; `directory` is its private directory. */
export function addFdMonitor(line: QemuCommandLine, directory: FileHandle): void {
  // Named by descriptor, since the path of the directory may exceed the length limit of a socket's.
  const path = `${line.addPlainFile(directory)}/fds`;
  line.option('chardev', `socket,id=fds,path=${path},server=on,wait=off`).option('mon', 'chardev=fds,mode=control');
}

/** Collects files for a running qemu. */
export class LateFdSets implements FdSets {
  readonly #files: FileHandle[] = [];
  readonly #first: number;

  /** @param given how many files that qemu has been passed in this way before */
  constructor(given = 0) {
    this.#first = FIRST_SET + given;
  }

  /** How many files there are. */
  get size(): number {
    return this.#files.length;
  }

  add(file: FileHandle): string {
    return `/dev/fdset/${this.#first + this.#files.push(file) - 1}`;
  }

  /**
   * Passes all files that were added to qemu; to be called once.
   * @throws Error with qemu's error, or the reason of `signal`
   */
  async send(directory: FileHandle, signal: AbortSignal): Promise<void> {
    if (this.#files.length === 0) return;
    const sets = this.#files.map((_, index) => String(this.#first + index));
    const { exitCode, stderr, overLimit } = await runTool('python3', ['-I', '-S', PROGRAM, ...sets], {
      fds: [directory.fd, ...this.#files.map(({ fd }) => fd)],
      timeoutMs: LIMIT_MS,
      maxOutputBytes: MESSAGES_LIMIT,
      signal,
    });
    if (exitCode !== 0)
      throw new Error(
        `cannot pass files to qemu: ${overLimit ? 'it does not answer' : (stderr.trim().split('\n').at(-1) ?? '')}`,
      );
  }
}

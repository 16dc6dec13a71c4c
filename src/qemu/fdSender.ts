/**
 * Files for a qemu that runs already. A descriptor goes over a Unix socket as ancillary data,
 * which Node.js cannot send: a short-lived Python process does, over a monitor of its own.
 */
import type { FileHandle } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runTool } from '../common/subprocess.js';
import type { QemuCommandLine } from './commandLine.js';
import type { FdSets } from './fdSets.js';

/** Read where it is: the compiler copies no other languages. */
const PROGRAM = fileURLToPath(new URL('../../../src/qemu/fdSender.py', import.meta.url));
const LIMIT_MS = 30_000;
const MESSAGES_LIMIT = 64 * 1024;

/** Numbers of sets: above those that a command line makes, which are numbers of descriptors. */
const FIRST_SET = 10_000;

/** Adds the monitor that {@link LateFdSets.send} connects to; `directory` is its private directory. */
export function addFdMonitor(line: QemuCommandLine, directory: FileHandle): void {
  // By descriptor: the path of the directory may be longer than a socket's may be.
  const path = `${line.addPlainFile(directory)}/fds`;
  line.option('chardev', `socket,id=fds,path=${path},server=on,wait=off`).option('mon', 'chardev=fds,mode=control');
}

/** Collects files for a running qemu. */
export class LateFdSets implements FdSets {
  readonly #files: FileHandle[] = [];
  readonly #first: number;

  /** @param given how many files that qemu was given in this way before */
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
   * Hands over all that was added, once.
   * @throws Error with qemu's words, or the reason of `signal`
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
        `qemu did not take its files: ${overLimit ? 'it does not answer' : (stderr.trim().split('\n').at(-1) ?? '')}`,
      );
  }
}

/**
 * Passes files to a running qemu. A descriptor is sent over a Unix socket as ancillary data, which Node.js
 * cannot do: a short-lived Python process does it, over a monitor that qemu was started with.
 *
 * That monitor is one end of a socket pair: it has no name that a compromised qemu could redirect. The process
 * has the other end and the files, but no privileges, and reads nothing from qemu; the answers are read here, in
 * limited amounts.
 */
import { readFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../common/errors.js';
import { ISOLATED_PYTHON } from '../common/python.js';
import { descriptorOf } from '../common/subprocess.js';
import { unlessAborted, withTimeLimit } from '../common/waiting.js';
import { startJailed } from '../jail/jail.js';
import type { JailLimits, JailPlan } from '../jail/jailArguments.js';
import { findProgram } from '../jail/programFiles.js';
import { CHANNEL_FDS, type QemuCommandLine } from './commandLine.js';
import type { FdSets, OpenSocket } from './fdSets.js';
import { QmpClient, QmpError } from './qmpClient.js';
import { QmpFramer } from './qmpFramer.js';

/** Located in the source tree, since the compiler does not copy it. The process's user may not be able to read it. */
const PROGRAM = readFileSync(fileURLToPath(new URL('../../../src/qemu/fdSender.py', import.meta.url)), 'utf8');
const LIMIT_MS = 30_000;
const MESSAGES_LIMIT = 4096;

/** Maximum size of an answer or event; the longest known event is shorter than 1 KiB. */
export const LONGEST_ANSWER = 64 << 10;
/** Maximum number of bytes within {@link FLOOD_MS}: thousands of events. */
export const FLOOD_BYTES = 4 << 20;
const FLOOD_MS = 10_000;

/** Number of the first fd set: above those of the command line, which equal numbers of descriptors. */
const FIRST_SET = 10_000;

/** The user of the process that passes files if the server is root; no qemu runs as this user. */
const NOBODY = 65534;
const LIMITS: JailLimits = { addressSpace: 1 << 29, cpuSeconds: 30, openFiles: 8192, fileSize: 0 };

/** Adds the monitor over which files are passed later. */
export function addFdMonitor(line: QemuCommandLine): void {
  line.option('chardev', `socket,id=fds,fd=${CHANNEL_FDS.files}`).option('mon', 'chardev=fds,mode=control');
}

/** A descriptor for a running qemu, and the QMP command that takes it. */
export interface GivenDescriptor {
  readonly fd: number;
  readonly execute: 'add-fd' | 'getfd';
  readonly args: Readonly<Record<string, unknown>>;
}

/** The server's end of the monitor for files. */
export class FdSender {
  readonly #stream: Duplex;
  #monitor: QmpClient | undefined;
  #windowStart = 0;
  #windowBytes = 0;

  constructor(stream: Duplex) {
    this.#stream = stream;
  }

  /**
   * Gives qemu each descriptor, with the command that says what it is.
   * @throws Error with qemu's message, or the reason of `signal`
   */
  async send(files: readonly GivenDescriptor[], signal: AbortSignal): Promise<void> {
    const late = (): Error => new Error('qemu did not accept its files: it does not answer');
    await withTimeLimit(LIMIT_MS, late, [signal], async (limit) => {
      try {
        await this.#sendAll(files, limit);
      } catch (error) {
        limit.throwIfAborted();
        const why = error instanceof QmpError ? error.description : messageOf(error);
        throw new Error(`qemu did not accept its files: ${why}`, { cause: error });
      }
    });
  }

  /**
   * Executes a command on this monitor. Only here does qemu know the sockets that it was given here.
   * @throws as {@link QmpClient.execute}
   */
  async execute(command: string, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown> {
    return (await this.#connect(signal)).execute(command, args, signal);
  }

  async #sendAll(files: readonly GivenDescriptor[], signal: AbortSignal): Promise<void> {
    const monitor = await this.#connect(signal);
    const process = await startJailed(await senderJail(files.length), {
      channels: 1,
      // A qemu that was taken over can close its end meanwhile; its files must not be sent to somebody else.
      fds: [() => descriptorOf(this.#stream), ...files.map(({ fd }) => fd)],
      env: { LC_ALL: 'C' },
    });
    const messages = process.channels[0] as Duplex;
    messages.on('error', () => undefined);
    let said = '';
    for (const output of process.outputs)
      output
        .on('data', (bytes: Buffer) => {
          said = (said + bytes.toString('utf8')).slice(-MESSAGES_LIMIT);
        })
        .resume();
    const ended = process.exited.then(({ exitCode }) => {
      if (exitCode !== 0) throw new Error(said.trim().split('\n').at(-1) || 'the process that passes them ended');
    });
    ended.catch(() => undefined);
    try {
      for (const { execute, args } of files) {
        const answer = monitor.execute(execute, args, signal, (line) => void messages.write(line));
        await Promise.race([answer, ended.then(() => answer)]);
      }
      messages.end();
      await unlessAborted(ended, signal);
    } finally {
      messages.destroy();
      process.kill('SIGKILL');
    }
  }

  async #connect(signal: AbortSignal): Promise<QmpClient> {
    if (this.#monitor !== undefined) return this.#monitor;
    // Registered first: data over the limit is cut off before it is parsed.
    this.#stream.on('data', (bytes: Buffer) => this.#count(bytes.length));
    this.#monitor = await QmpClient.connect(this.#stream, signal, new QmpFramer(LONGEST_ANSWER));
    return this.#monitor;
  }

  /** Events arrive here too, and are ignored. More of them than any machine normally sends are treated as an attack. */
  #count(bytes: number): void {
    const now = performance.now();
    if (now - this.#windowStart > FLOOD_MS) [this.#windowStart, this.#windowBytes] = [now, 0];
    this.#windowBytes += bytes;
    if (this.#windowBytes > FLOOD_BYTES) this.#stream.destroy(new Error('its monitor sent too much data'));
  }
}

async function senderJail(count: number): Promise<JailPlan> {
  const [python = '', ...isolated] = ISOLATED_PYTHON;
  return {
    program: await findProgram(python, 'python'),
    args: [...isolated, '-c', PROGRAM, String(count)],
    user: process.geteuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined,
    proc: 'unused',
    limits: LIMITS,
  };
}

/** Collects files and sockets for a running qemu. */
export class LateFdSets implements FdSets {
  readonly #given: GivenDescriptor[] = [];
  readonly #first: number;

  /** @param given how many of both that qemu has been passed in this way before */
  constructor(given = 0) {
    this.#first = FIRST_SET + given;
  }

  /** How many of both there are. */
  get size(): number {
    return this.#given.length;
  }

  add(file: FileHandle): string {
    const set = this.#next();
    this.#given.push({ fd: file.fd, execute: 'add-fd', args: { 'fdset-id': set } });
    return `/dev/fdset/${set}`;
  }

  connect(socket: OpenSocket): string {
    const name = `socket${this.#next()}`;
    this.#given.push({ fd: socket.fd, execute: 'getfd', args: { fdname: name } });
    return name;
  }

  /**
   * Passes all that was added to qemu; must be called once.
   * @throws Error with qemu's error, or the reason of `signal`
   */
  async send(sender: FdSender, signal: AbortSignal): Promise<void> {
    if (this.#given.length > 0) await sender.send(this.#given, signal);
  }

  #next(): number {
    return this.#first + this.#given.length;
  }
}

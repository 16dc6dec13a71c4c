/**
 * A scripted guestfsd: the test determines what it reads and writes, and when. It implements the
 * protocol from its description, and shares no code with the project's side of it.
 */
import type { Duplex } from 'node:stream';
import { duplexPair } from './duplexPair.js';
import { long, opaque, text, word } from './xdrBytes.js';

const PROGRAM = 0x2000f5f5;
const VERSION = 4;
const LAUNCH = 0xf5f55ff5;
const CANCEL = 0xffffeeee;
const PROGRESS = 0xffff5555;
const HEADER_SIZE = 40;
const REPLY = 1;
const OK = 0;
const ERROR = 1;

/** A request, as received. */
export interface ReceivedCall {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly direction: number;
  readonly serial: number;
  readonly progressHint: bigint;
  readonly optionalArguments: bigint;
  readonly status: number;
  /** The arguments, in XDR. */
  readonly body: Buffer;
}

/** A chunk of an upload, or the flag that stops a download. */
export type ReceivedPiece =
  | { readonly kind: 'chunk'; readonly cancel: boolean; readonly data: Buffer }
  | { readonly kind: 'cancel flag' };

/** Wrong values for a reply's header. */
export type ReplyHeader = Partial<
  Record<'program' | 'version' | 'procedure' | 'direction' | 'serial' | 'status', number>
>;

export class FakeDaemon {
  /** The other end: for the side under test. */
  readonly channel: Duplex;
  readonly #own: Duplex;
  readonly #split: number;
  #changed: () => void = () => undefined;

  /** @param split number of bytes per write; one at a time is the hardest for the reader */
  constructor(options: { readonly split?: number; readonly pair?: readonly [Duplex, Duplex] } = {}) {
    [this.channel, this.#own] = options.pair ?? duplexPair();
    this.#split = options.split ?? Infinity;
    this.#own.on('error', () => undefined); // the other side has closed: 'close' ends all waits here
    for (const event of ['readable', 'end', 'close']) this.#own.on(event, () => this.#changed());
  }

  /** Bytes that were written, but not yet accepted by the other side's stream. */
  get unsentBytes(): number {
    return this.#own.writableLength;
  }

  /** Bytes that the other side has sent and this one has not read. */
  get unreadBytes(): number {
    return this.#own.readableLength;
  }

  /** Resolves when the other side has accepted the bytes; rejects when it has closed. */
  async write(...parts: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.concat(parts);
    const last = Math.max(bytes.length - 1, 0);
    for (let start = 0; start <= last; start += this.#split) {
      const piece = bytes.subarray(start, Math.min(start + this.#split, bytes.length));
      await new Promise<void>((resolve, reject) => {
        this.#own.write(piece, (error) => (error ? reject(error) : resolve()));
      });
    }
  }

  // --- sending ---

  async launch(): Promise<void> {
    await this.write(word(LAUNCH));
  }

  async cancelFlag(): Promise<void> {
    await this.write(word(CANCEL));
  }

  async progress(call: ReceivedCall, position: bigint, total: bigint): Promise<void> {
    await this.write(FakeDaemon.progressBytes(call, position, total));
  }

  static progressBytes(call: ReceivedCall, position: bigint, total: bigint): Buffer {
    return Buffer.concat([word(PROGRESS), word(call.procedure), word(call.serial), long(position), long(total)]);
  }

  /** Any message, with its length word. */
  static messageBytes(...parts: readonly Buffer[]): Buffer {
    const bytes = Buffer.concat(parts);
    return Buffer.concat([word(bytes.length), bytes]);
  }

  static headerBytes(call: ReceivedCall, status: number, header: ReplyHeader = {}): Buffer {
    return Buffer.concat([
      word(header.program ?? PROGRAM),
      word(header.version ?? VERSION),
      word(header.procedure ?? call.procedure),
      word(header.direction ?? REPLY),
      word(header.serial ?? call.serial),
      long(0n),
      long(0n),
      word(header.status ?? status),
    ]);
  }

  static replyBytes(call: ReceivedCall, value: Buffer = Buffer.alloc(0), header: ReplyHeader = {}): Buffer {
    return FakeDaemon.messageBytes(FakeDaemon.headerBytes(call, OK, header), value);
  }

  static errorBytes(call: ReceivedCall, errno: string, message: string): Buffer {
    return FakeDaemon.messageBytes(FakeDaemon.headerBytes(call, ERROR), text(errno), text(message));
  }

  static chunkBytes(data: Buffer, cancel = 0): Buffer {
    return FakeDaemon.messageBytes(word(cancel), opaque(data));
  }

  async reply(call: ReceivedCall, value?: Buffer, header?: ReplyHeader): Promise<void> {
    await this.write(FakeDaemon.replyBytes(call, value, header));
  }

  async fail(call: ReceivedCall, errno: string, message: string): Promise<void> {
    await this.write(FakeDaemon.errorBytes(call, errno, message));
  }

  async chunk(data: Buffer): Promise<void> {
    await this.write(FakeDaemon.chunkBytes(data));
  }

  async lastChunk(): Promise<void> {
    await this.write(FakeDaemon.chunkBytes(Buffer.alloc(0)));
  }

  async cancelChunk(): Promise<void> {
    await this.write(FakeDaemon.chunkBytes(Buffer.alloc(0), 1));
  }

  /** Ends as qemu does when it dies. */
  die(): void {
    this.#own.destroy();
  }

  // --- receiving ---

  /** The next request; like guestfsd, ignores the flag that cancels a download if the download is over. */
  async nextCall(): Promise<ReceivedCall> {
    let length: number;
    do length = (await this.#take(4)).readUInt32BE(0);
    while (length === CANCEL);
    const message = await this.#take(length);
    return {
      program: message.readUInt32BE(0),
      version: message.readUInt32BE(4),
      procedure: message.readInt32BE(8),
      direction: message.readInt32BE(12),
      serial: message.readUInt32BE(16),
      progressHint: message.readBigUInt64BE(20),
      optionalArguments: message.readBigUInt64BE(28),
      status: message.readInt32BE(36),
      body: message.subarray(HEADER_SIZE),
    };
  }

  /** The next chunk of a file, or the flag that cancels a download. */
  async nextPiece(): Promise<ReceivedPiece> {
    const length = (await this.#take(4)).readUInt32BE(0);
    if (length === CANCEL) return { kind: 'cancel flag' };
    const message = await this.#take(length);
    const size = message.readUInt32BE(4);
    return { kind: 'chunk', cancel: message.readUInt32BE(0) === 1, data: message.subarray(8, 8 + size) };
  }

  /** Reads a file up to its end; like guestfsd, even after refusing it. */
  async nextFile(): Promise<{ readonly data: Buffer; readonly cancelled: boolean }> {
    const parts: Buffer[] = [];
    for (;;) {
      const piece = await this.nextPiece();
      if (piece.kind === 'cancel flag') continue;
      if (piece.cancel) return { data: Buffer.concat(parts), cancelled: true };
      if (piece.data.length === 0) return { data: Buffer.concat(parts), cancelled: false };
      parts.push(piece.data);
    }
  }

  /** Resolves when the other side has closed the connection. */
  async closed(): Promise<void> {
    while (!this.#own.destroyed && !this.#own.readableEnded) {
      if (this.#own.read() === null) await this.#change();
    }
  }

  async #take(size: number): Promise<Buffer> {
    if (size === 0) return Buffer.alloc(0);
    for (;;) {
      const bytes = this.#own.read(size) as Buffer | null;
      if (bytes !== null && bytes.length === size) return bytes;
      if (this.#own.readableEnded || this.#own.destroyed || bytes !== null)
        throw new Error('the other side closed the connection');
      await this.#change();
    }
  }

  /** Resolves when there is more to read, or there will never be. */
  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve;
    });
  }
}

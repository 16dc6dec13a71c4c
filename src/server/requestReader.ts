/**
 * Reads the messages of requests, and accounts for their memory as it arrives. grpc-js has a single size limit for all
 * methods, and neither memory accounting nor a time limit.
 */
import { GuestfsError } from '../common/errors.js';
import { limitExceeded } from '../common/limitExceeded.js';
import { requestTooLarge } from '../common/messageLimits.js';
import type { MessageDecoder } from './grpcInternals.js';
import type { RequestMemory } from './requestMemory.js';

/** gRPC's prefix of each message: a compression flag of one byte, and the length in four bytes. */
const HEADER_SIZE = 5;
const LENGTH_OFFSET = 1;

/** Messages up to this size are not accounted for: the number of calls bounds them. Bytes. */
export const SMALL = 16 * 1024;
/** Initial size of a buffer; it doubles ... */
const FIRST_BUFFER = 64 * 1024;
/** ... until this share of the message has arrived; then it gets its final size. The final buffer is never copied. */
const FULL_FROM = 1 / 8;

/** From this size on, a request is limited by the window of its stream rather than by its client. Bytes. */
const LARGE = 48 * 1024;

/** Bytes that must arrive within the time limit while a call waits for its request. */
const LEAST_PROGRESS = 64 * 1024;

/** Suggested retry delay after a refusal for lack of memory, milliseconds. */
const RETRY_AFTER_MS = 5000;

export interface ReadingOptions {
  /** The action's name. */
  readonly action: string;
  /** Finds whose memory it is: see {@link RequestMemory}. Called at most once, and not for small requests. */
  readonly client: () => string;
  /** Largest message, bytes. */
  readonly largest: number;
  /** The error for a larger one, instead of the usual. */
  readonly tooLarge?: (size: number) => GuestfsError;
  /** For messages up to `ordinary` bytes ... */
  readonly memory: RequestMemory;
  readonly ordinary: number;
  /** ... and for larger ones. */
  readonly largeMemory: RequestMemory;
  /**
   * Called before a message that is not small is accepted.
   * @throws GuestfsError why the call is refused whatever its message
   */
  readonly admit: () => void;
  /** Called once, when an admitted call has read so much that it can be expected to read much more. */
  readonly onLarge?: () => void;
  /** How long it may go without progress, milliseconds. */
  readonly stallMs: number;
  /** Called when the request has stalled and is refused. */
  readonly onStall: (refusal: GuestfsError) => void;
}

const readers = new WeakMap<object, RequestReader>();

/**
 * Keeps the memory of a large request reserved for as long as `work` uses its content, which can be longer than its
 * call lasts.
 */
export async function whileHeld<Value>(request: object, work: () => Promise<Value>): Promise<Value> {
  const release = readers.get(request)?.hold();
  try {
    return await work();
  } finally {
    release?.();
  }
}

const byStream = new WeakMap<object, RequestReader>();

/** Records the reader of the requests of an HTTP/2 stream. */
export function readUnder(stream: object, reader: RequestReader): void {
  byStream.set(stream, reader);
}

/** The reader of the requests of an HTTP/2 stream, if it has one. */
export function readerOf(stream: object): RequestReader | undefined {
  return byStream.get(stream);
}

/** The memory that a message has reserved. */
interface Taken {
  readonly pot: RequestMemory | undefined;
  bytes: number;
}

/** Assembles the messages of one call from the data received. A length that is announced but not sent costs nothing. */
export class RequestReader implements MessageDecoder {
  readonly #options: ReadingOptions;
  readonly #header = Buffer.allocUnsafe(HEADER_SIZE);
  /** The header, and the message as far as there is room for it; undefined while the header is not complete. */
  #message: Buffer | undefined;
  /** Bytes of the header and the message. */
  #size = 0;
  #filled = 0;
  #current: Taken = { pot: undefined, bytes: 0 };
  /** For messages that are complete and not yet used, the oldest first. */
  readonly #complete: Taken[] = [];
  /** Holders of the memory: the call, and any work that still uses the request. */
  #holders = 1;
  #received = 0;
  #admitted = false;
  #anyUsed = false;
  #large = false;
  #stall: NodeJS.Timeout | undefined;
  #closed = false;
  #refusal: GuestfsError | undefined;

  #client: string | undefined;

  constructor(options: ReadingOptions) {
    this.#options = options;
  }

  /** Why the request was refused. */
  get refusal(): GuestfsError | undefined {
    return this.#refusal;
  }

  /** As in grpc-js's decoder: 0 if no part of a message has arrived. */
  get readState(): number {
    return this.#filled === 0 ? 0 : 1;
  }

  /**
   * Takes received data and returns the completed messages, each with its header.
   * @throws GuestfsError MESSAGE_TOO_LARGE, LIMIT_EXCEEDED
   */
  write(data: Buffer): Buffer[] {
    const complete: Buffer[] = [];
    this.#received += data.length;
    if (this.#received > LARGE && !this.#large) this.#askForMore();
    let rest = data;
    while (rest.length > 0) {
      const into = this.#message === undefined ? this.#header : this.#room(rest.length);
      const count = rest.copy(into, this.#filled);
      if (this.#message !== undefined) this.#reserve(count);
      this.#filled += count;
      rest = rest.subarray(count);
      if (this.#message === undefined && this.#filled === HEADER_SIZE) this.#begin();
      if (this.#message !== undefined && this.#filled === this.#size) {
        complete.push(this.#message);
        this.#complete.push(this.#current);
        this.#reset();
      }
    }
    return complete;
  }

  /** Before the call is admitted, or has used a message, it has no right to more. */
  #askForMore(): void {
    if (!this.#admitted && !this.#anyUsed) return;
    this.#large = true;
    this.#options.onLarge?.();
  }

  /** Refuses the rest of the request. */
  overflow(error: GuestfsError): void {
    this.#refuse(error);
  }

  /** The request decoded from this message: see {@link whileHeld}. */
  decoded(request: unknown): void {
    if (typeof request === 'object' && request !== null) readers.set(request, this);
  }

  /** Holds the memory until the returned function is called. */
  hold(): () => void {
    this.#holders += 1;
    return () => this.#release();
  }

  /** The call waits for its client from now on. */
  awaitData(): void {
    if (this.#stall !== undefined || this.#closed) return;
    let before = this.#received;
    this.#stall = setTimeout(() => {
      if (this.#received - before < LEAST_PROGRESS) {
        this.dataCame();
        this.#options.onStall(this.#refuse(this.#stalled()));
        return;
      }
      before = this.#received;
      this.#stall?.refresh();
    }, this.#options.stallMs);
    this.#stall.unref();
  }

  /** The call has received what it waited for. */
  dataCame(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
  }

  /** The oldest message has been used: its memory is free. */
  used(): void {
    this.#anyUsed = true;
    this.#giveBack(this.#complete.shift());
  }

  /** The call has ended: releases its hold on the memory. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.dataCame();
    this.#abandon();
    this.#release();
  }

  #release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) for (const taken of this.#complete.splice(0)) this.#giveBack(taken);
  }

  #giveBack(taken: Taken | undefined): void {
    if (taken?.pot !== undefined) taken.pot.giveBack(this.#owner(), taken.bytes);
  }

  /** Discards what has arrived of the current message. */
  #abandon(): void {
    this.#giveBack(this.#current);
    this.#reset();
  }

  #reset(): void {
    this.#message = undefined;
    this.#filled = 0;
    this.#current = { pot: undefined, bytes: 0 };
  }

  #begin(): void {
    const { action, largest, ordinary, memory, largeMemory, tooLarge } = this.#options;
    const size = this.#header.readUInt32BE(LENGTH_OFFSET);
    if (size > largest) throw this.#refuse(tooLarge?.(size) ?? requestTooLarge(action, 'server', largest, size));
    this.#size = HEADER_SIZE + size;
    if (size > SMALL) {
      this.#admit();
      this.#current = { pot: size <= ordinary ? memory : largeMemory, bytes: 0 };
    }
    this.#message =
      size > SMALL ? Buffer.allocUnsafeSlow(Math.min(this.#size, FIRST_BUFFER)) : Buffer.allocUnsafe(this.#size);
    this.#header.copy(this.#message);
  }

  #admit(): void {
    try {
      this.#options.admit();
      this.#admitted = true;
    } catch (error) {
      throw this.#refuse(GuestfsError.from(error));
    }
  }

  /** The message's buffer, with room for more bytes. */
  #room(more: number): Buffer {
    const message = this.#message as Buffer;
    if (this.#filled < message.length) return message;
    const needed = Math.max(2 * message.length, this.#filled + more);
    const larger = Buffer.allocUnsafeSlow(needed >= this.#size * FULL_FROM ? this.#size : needed);
    message.copy(larger, 0, 0, this.#filled);
    this.#message = larger;
    return larger;
  }

  #reserve(bytes: number): void {
    const { pot } = this.#current;
    if (pot === undefined) return;
    if (!pot.take(this.#owner(), bytes)) throw this.#refuse(this.#noMemory(pot));
    this.#current.bytes += bytes;
  }

  #owner(): string {
    this.#client ??= this.#options.client();
    return this.#client;
  }

  #noMemory(pot: RequestMemory): GuestfsError {
    const { action, ordinary, memory } = this.#options;
    const taken = `may take ${pot.size} bytes of the server's memory together, and others have taken them; try again later`;
    if (pot === memory) {
      return limitExceeded(`${action}: the requests of a client of up to ${ordinary} bytes each ${taken}`, {
        limit: 'small-request-memory',
        maximum: pot.size,
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    return new GuestfsError('OUT_OF_MEMORY', `${action}: requests of more than ${ordinary} bytes ${taken}`, {
      metadata: { limit: String(pot.size) },
      retryAfterMs: RETRY_AFTER_MS,
    });
  }

  #stalled(): GuestfsError {
    const { action, stallMs } = this.#options;
    return new GuestfsError(
      'DEADLINE_EXCEEDED',
      `${action}: less than ${LEAST_PROGRESS} bytes of the request came in ${stallMs / 1000} s`,
      { metadata: { limit: 'stall-timeout', maximum: String(stallMs / 1000) }, retryAfterMs: RETRY_AFTER_MS },
    );
  }

  #refuse(error: GuestfsError): GuestfsError {
    this.#refusal = error;
    this.dataCame();
    this.#abandon();
    return error;
  }
}

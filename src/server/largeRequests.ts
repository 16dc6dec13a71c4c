/**
 * Reads the requests of actions that accept contents of any size, and accounts for their memory. grpc-js has a single
 * size limit for all methods and no memory accounting.
 */
import { GuestfsError } from '../common/errors.js';
import { requestTooLarge } from '../common/messageLimits.js';

/** gRPC's prefix of each message: a compressed flag of one byte, and the length in four. */
const HEADER_SIZE = 5;
const LENGTH_OFFSET = 1;

/** A request must make progress by this many bytes ... */
const LEAST_PROGRESS = 64 * 1024;
/** ... in this time, milliseconds, so that stalled clients do not hold memory. */
const PROGRESS_LIMIT_MS = 30_000;

/** Suggested retry delay after a refusal for lack of memory, milliseconds. */
const RETRY_AFTER_MS = 5000;

/** The memory budget shared by all large requests of a server. */
export class RequestMemory {
  #held = 0;

  /** @param size bytes */
  constructor(readonly size: number) {}

  /** Bytes left. */
  get free(): number {
    return this.size - this.#held;
  }

  /** Reserves bytes; false if not enough are left. */
  take(bytes: number): boolean {
    if (bytes > this.free) return false;
    this.#held += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#held -= bytes;
  }
}

export interface ReadingOptions {
  /** The action's name. */
  readonly action: string;
  /** Requests up to this size are not accounted for, bytes. */
  readonly ordinary: number;
  readonly memory: RequestMemory;
  /** Called when the request has stalled and is refused. */
  readonly onStall: (refusal: GuestfsError) => void;
}

const readers = new WeakMap<object, LargeRequestReader>();

/**
 * Keeps the memory of a request, if it is a large one, for as long as `work` uses its contents: that can be longer
 * than its call lasts.
 */
export async function whileHeld<Value>(request: object, work: () => Promise<Value>): Promise<Value> {
  const release = readers.get(request)?.hold();
  try {
    return await work();
  } finally {
    release?.();
  }
}

/**
 * Assembles the request message of one call from the data received. A length that is announced but not sent costs no
 * physical memory: the pages of a buffer are allocated when they are first written to.
 */
export class LargeRequestReader {
  readonly #options: ReadingOptions;
  readonly #header = Buffer.alloc(HEADER_SIZE);
  /** The header and the message; undefined while the header is not complete. */
  #message: Buffer | undefined;
  #filled = 0;
  #taken = 0;
  /** Holders of the memory: the call, and any work that still uses the request. */
  #holders = 1;
  #stall: NodeJS.Timeout | undefined;
  #refusal: GuestfsError | undefined;

  constructor(options: ReadingOptions) {
    this.#options = options;
  }

  /** Why the request was refused. */
  get refusal(): GuestfsError | undefined {
    return this.#refusal;
  }

  /**
   * Takes received data and returns the completed messages, each with its header.
   * @throws GuestfsError MESSAGE_TOO_LARGE, OUT_OF_MEMORY
   */
  write(data: Buffer): Buffer[] {
    const complete: Buffer[] = [];
    let rest = data;
    while (rest.length > 0) {
      const into = this.#message ?? this.#header;
      const count = rest.copy(into, this.#filled);
      if (this.#message !== undefined) this.#reserve(count);
      this.#filled += count;
      rest = rest.subarray(count);
      if (this.#message === undefined && this.#filled === HEADER_SIZE) this.#message = this.#begin();
      if (this.#message?.length === this.#filled) {
        complete.push(this.#message);
        this.#end();
        this.#filled = 0;
      }
    }
    return complete;
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

  /** The call has ended: releases its hold on the memory. */
  close(): void {
    this.#end();
    this.#release();
  }

  #release(): void {
    this.#holders -= 1;
    if (this.#holders > 0) return;
    this.#options.memory.giveBack(this.#taken);
    this.#taken = 0;
  }

  /** The message is abandoned: no more data is accepted. */
  #end(): void {
    clearInterval(this.#stall);
    this.#message = undefined;
  }

  #begin(): Buffer {
    const { action, memory } = this.#options;
    const size = this.#header.readUInt32BE(LENGTH_OFFSET);
    if (size > memory.size) throw this.#refuse(requestTooLarge(action, 'server', memory.size, size));
    const message = Buffer.allocUnsafeSlow(HEADER_SIZE + size);
    this.#header.copy(message);
    if (size > this.#options.ordinary) this.#watch();
    return message;
  }

  #watch(): void {
    let before = 0;
    this.#stall = setInterval(() => {
      if (this.#filled - before < LEAST_PROGRESS) {
        this.#end();
        this.#options.onStall(
          this.#refuse(
            new GuestfsError(
              'DEADLINE_EXCEEDED',
              `${this.#options.action}: less than ${LEAST_PROGRESS} bytes of the request came in ${PROGRESS_LIMIT_MS / 1000} s`,
            ),
          ),
        );
      }
      before = this.#filled;
    }, PROGRESS_LIMIT_MS);
    this.#stall.unref();
  }

  /** Accounts for the data received of a large message. */
  #reserve(bytes: number): void {
    const { action, ordinary, memory } = this.#options;
    if (this.#message === undefined || this.#message.length - HEADER_SIZE <= ordinary) return;
    if (!memory.take(bytes)) {
      throw this.#refuse(
        new GuestfsError(
          'OUT_OF_MEMORY',
          `${action}: requests of more than ${ordinary} bytes may take ${memory.size} bytes of the server's memory together, and others have taken them; try again later`,
          {
            metadata: { limit: String(memory.size) },
            retryAfterMs: RETRY_AFTER_MS,
          },
        ),
      );
    }
    this.#taken += bytes;
  }

  #refuse(error: GuestfsError): GuestfsError {
    this.#refusal = error;
    return error;
  }
}

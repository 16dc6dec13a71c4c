/**
 * Requests of actions that take contents of any size, and the memory for them. grpc-js has one
 * limit for the requests of all methods, and reserves nothing; so these are read here.
 */
import { GuestfsError } from '../common/errors.js';
import { requestTooLarge } from '../common/messageLimits.js';

/** What gRPC puts before each message: a flag that it is compressed, and its length in four bytes. */
const HEADER_SIZE = 5;
const LENGTH_OFFSET = 1;

/** A request has to grow by so many bytes ... */
const LEAST_PROGRESS = 64 * 1024;
/** ... in this time, milliseconds: the memory that it holds is not for clients that stopped. */
const PROGRESS_LIMIT_MS = 30_000;

/** A client that is refused for want of memory may try again after, milliseconds. */
const RETRY_AFTER_MS = 5000;

/** The memory that all large requests of a server may take together. */
export class RequestMemory {
  #held = 0;

  /** @param size bytes */
  constructor(readonly size: number) {}

  /** What is left, bytes. */
  get free(): number {
    return this.size - this.#held;
  }

  /** Takes so many bytes, if there are as many. */
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
  /** Up to here a request is like others, bytes. */
  readonly ordinary: number;
  readonly memory: RequestMemory;
  /** Told when the request does not go on, and is refused. */
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
 * Puts the message of one call together from what comes of it. What a client only announces
 * takes no memory: the pages of a buffer are there when they are written to.
 */
export class LargeRequestReader {
  readonly #options: ReadingOptions;
  readonly #header = Buffer.alloc(HEADER_SIZE);
  /** The header and the message; undefined while the header is not complete. */
  #message: Buffer | undefined;
  #filled = 0;
  #taken = 0;
  /** Of the memory: the call, and whoever works with what came of it. */
  #holders = 1;
  #stall: NodeJS.Timeout | undefined;
  #refusal: GuestfsError | undefined;

  constructor(options: ReadingOptions) {
    this.#options = options;
  }

  /** Why the request was not taken. */
  get refusal(): GuestfsError | undefined {
    return this.#refusal;
  }

  /**
   * Takes what has come, and gives the messages that are complete, each with its header.
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

  /** The request that was decoded from what came: see {@link whileHeld}. */
  decoded(request: unknown): void {
    if (typeof request === 'object' && request !== null) readers.set(request, this);
  }

  /** Keeps the memory until what it returns is called. */
  hold(): () => void {
    this.#holders += 1;
    return () => this.#release();
  }

  /** The call has ended: its memory is for others, unless somebody else holds it. */
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

  /** No more of the message comes. */
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

  /** Counts what has come of a message that is not ordinary. */
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

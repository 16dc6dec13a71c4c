/** The content of an upload, in pieces that the service accepts. */
import { Readable } from 'node:stream';
import { isUint8Array } from 'node:util/types';
import { clientError } from './error.js';

/**
 * The source of an upload: bytes, or anything that yields them, such as `createReadStream(path)`, a web stream or an
 * async generator.
 */
export type UploadSource = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

/** The service accepts at most 1 MiB in one message. */
const PIECE_LIMIT = 1024 * 1024;

/** A call that the service refuses may have sent this much before the refusal arrives: what is on the way, and some more. */
const KEPT_LIMIT = 6 * PIECE_LIMIT;

/** Not by the class alone: programs can have several, as in a test runner. */
export function isBytes(value: unknown): value is Uint8Array {
  return isUint8Array(value);
}

/** Whether a value can be the source of an upload. */
export function isUploadSource(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

/** The call that a source is for. */
export interface SentCall {
  readonly rpc: string;
  readonly action: string | undefined;
}

/** The same bytes, not copied, in pieces of at most 1 MiB. */
async function* piecesOf(source: UploadSource, { rpc, action }: SentCall): AsyncGenerator<Buffer> {
  for await (const chunk of isBytes(source) ? [source] : (source as AsyncIterable<Uint8Array>)) {
    if (!isBytes(chunk))
      throw clientError(rpc, 'BAD_ARGUMENT', `the source yielded a ${typeof chunk}, not bytes`, { action });
    for (let start = 0; start < chunk.length; start += PIECE_LIMIT) {
      const piece = chunk.subarray(start, start + PIECE_LIMIT);
      yield Buffer.from(piece.buffer, piece.byteOffset, piece.length);
    }
  }
}

/**
 * A source that can be read again from its beginning, as long as only a few MiB of it were read. A source may reuse the
 * memory of what it has yielded, so what can be read again is a copy.
 */
export class RepeatableSource {
  readonly #source: UploadSource;
  readonly #call: SentCall;
  readonly #iterator: AsyncGenerator<Buffer>;
  readonly #keep: boolean;
  /** What has been read, by its place; without its beginning if that is too large to keep. */
  readonly #read = new Map<number, Promise<IteratorResult<Buffer, unknown>>>();
  #kept = 0;
  #complete = true;

  /**
   * @param call the call that it is for
   * @param keep whether it may have to be read again
   */
  constructor(source: UploadSource, call: SentCall, keep: boolean) {
    this.#source = source;
    this.#call = call;
    this.#iterator = piecesOf(source, call);
    this.#keep = keep;
  }

  /** Whether it can be read from its beginning. */
  get repeatable(): boolean {
    return this.#keep && (this.#complete || isBytes(this.#source));
  }

  /** All pieces, from the beginning. */
  async *pieces(): AsyncGenerator<Buffer> {
    if (isBytes(this.#source)) {
      yield* piecesOf(this.#source, this.#call);
      return;
    }
    for (let place = 0; ; place += 1) {
      const piece = await this.#at(place);
      if (piece.done === true) return;
      yield piece.value;
    }
  }

  /** Releases the source, even while it is waited for. */
  close(): void {
    if (this.#source instanceof Readable) this.#source.destroy();
    // A generator that waits ends when it has its next piece; nobody is interested in how.
    this.#iterator.return(undefined).catch(() => undefined);
    this.#read.clear();
  }

  #at(place: number): Promise<IteratorResult<Buffer, unknown>> {
    const known = this.#read.get(place);
    if (known !== undefined) return known;
    const next = this.#next();
    if (this.repeatable) this.#read.set(place, next);
    return next;
  }

  async #next(): Promise<IteratorResult<Buffer, unknown>> {
    const piece = await this.#iterator.next();
    if (piece.done === true || !this.repeatable) return piece;
    this.#kept += piece.value.length;
    if (this.#kept <= KEPT_LIMIT) return { done: false, value: Buffer.from(piece.value) };
    this.#complete = false;
    this.#read.clear();
    return piece;
  }
}

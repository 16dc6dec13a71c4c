/**
 * Files to and from a daemon, in chunks, and how they end early.
 *
 * One file at a time, and no message of another kind until it has ended. However it ends, both sides agree that it
 * has: an upload is followed by a last chunk (which cancels it, if it is not whole), a download is read up to the
 * daemon's last chunk, also when nobody wants it any more. Only a connection that is closed ends a file without.
 */
import { GuestfsError } from '../common/errors.js';
import { abortController } from '../common/waiting.js';
import { MAX_CHUNK_SIZE } from './constants.js';
import type { Inbox } from './inbox.js';
import {
  CANCEL_CHUNK,
  chunksSize,
  decodeChunk,
  encodeCancelFlag,
  encodeChunks,
  encodeLastChunk,
  FILE_END_LENGTH,
} from './messages.js';
import type { Outbox } from './outbox.js';

/** Bytes of a file that are handed on, or made into chunks, at once. */
const DELIVERY_SIZE = 128 * 1024;
/** Chunks are small once a delivery has so many of them ... */
const SMALL_CHUNKS = 8;
/** ... and as long as there are so few bytes in each, on average. */
const SMALL_CHUNK_SIZE = 512;

/**
 * Thrown by whom a download is delivered to, when what came shows that the daemon sends no more of
 * it: neither the rest nor an end.
 */
export class NothingMoreComes extends Error {
  /** @param failure what the call then fails with */
  constructor(readonly failure: GuestfsError) {
    super(failure.message, { cause: failure });
  }
}

/** How a file ended: whole, by the daemon's wish, or by this side's. */
export type FileEnd =
  | { readonly kind: 'complete' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'abandoned'; readonly cause: unknown };

const INTERRUPTED = Symbol('interrupted');

export class FileTransfer {
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  /** Ends the wait for the next piece of an upload, or for whom a download is delivered to. */
  #interrupt: (() => void) | undefined;
  /** Aborted when the daemon asks to end the upload under way. */
  #refused = abortController();
  /** The daemon may send a second cancel chunk for the download that was cancelled last. */
  #spareCancelChunk = false;
  #closed: GuestfsError | undefined;

  constructor(inbox: Inbox, outbox: Outbox) {
    this.#inbox = inbox;
    this.#outbox = outbox;
  }

  /** The call of an upload is about to be sent: from here on the daemon may refuse its file. */
  expectUpload(): void {
    this.#refused = abortController();
  }

  /** The daemon asks to end the upload under way. Outside one it is late: it sends the flag just before its reply. */
  refuse(): void {
    this.#refused.abort();
  }

  /** Whether this message, the first since a download was cancelled, is a cancel chunk that the daemon sent once too often. */
  isSpareCancelChunk(message: Buffer): boolean {
    const isSpare = this.#spareCancelChunk && message.equals(CANCEL_CHUNK);
    this.#spareCancelChunk = false;
    return isSpare;
  }

  /** The connection is closed: a file under way ends with `error`. */
  close(error: GuestfsError): void {
    this.#closed = error;
    this.#interrupt?.();
  }

  /**
   * Sends a file up to its end, the daemon's refusal, a failure of the source or the signal, whichever is first.
   * @throws GuestfsError when the connection is closed
   */
  async upload(source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<FileEnd> {
    const refused = this.#refused.signal;
    const iterator = source[Symbol.asyncIterator]();
    const interrupt = (): void => this.#interrupt?.();
    const scratch = Buffer.allocUnsafeSlow(chunksSize(DELIVERY_SIZE));
    signal.addEventListener('abort', interrupt);
    refused.addEventListener('abort', interrupt);
    let ended: FileEnd | undefined;
    try {
      while (ended === undefined) {
        const next = signal.aborted || refused.aborted ? INTERRUPTED : await this.#unlessInterrupted(iterator.next());
        if (this.#closed) throw this.#closed;
        if (refused.aborted) ended = { kind: 'refused' };
        else if (signal.aborted || next === INTERRUPTED) ended = { kind: 'abandoned', cause: signal.reason };
        else if (next.done) ended = { kind: 'complete' };
        else await this.#writeChunks(next.value, scratch, () => signal.aborted || refused.aborted);
      }
    } catch (error) {
      if (this.#closed) throw error;
      ended = { kind: 'abandoned', cause: error };
    } finally {
      signal.removeEventListener('abort', interrupt);
      refused.removeEventListener('abort', interrupt);
      // A source that waits for its client cannot be waited for here.
      if (ended?.kind !== 'complete') void iterator.return?.().catch(() => undefined);
    }
    await this.#outbox.write(encodeLastChunk(ended.kind !== 'complete'));
    return ended;
  }

  /**
   * Receives a file up to the daemon's last chunk.
   * @param deliver gets the pieces in order, at most {@link DELIVERY_SIZE} bytes at a time; what it throws ends the
   *   file by the protocol, but for {@link NothingMoreComes}
   * @throws GuestfsError when the connection is closed
   */
  async download(deliver: (pieces: readonly Buffer[]) => Promise<void>, signal: AbortSignal): Promise<FileEnd> {
    let abandoned: (FileEnd & { readonly kind: 'abandoned' }) | undefined;
    const abandon = (why: unknown): void => {
      if (abandoned) return;
      abandoned = { kind: 'abandoned', cause: why ?? new GuestfsError('CANCELLED', 'the transfer was cancelled') };
      // The daemon may be busy, or gone, which shows when the next chunk is waited for.
      this.#outbox.write(encodeCancelFlag()).catch(() => undefined);
      this.#interrupt?.();
    };
    const aborted = (): void => abandon(signal.reason);
    signal.addEventListener('abort', aborted);
    try {
      if (signal.aborted) aborted();
      let small = false;
      for (let begun = false; ; begun = true) {
        const first = await this.#inbox.next();
        // The beginning is not to wait: it may be all that comes for a long time.
        if (begun && first.length > FILE_END_LENGTH && !abandoned)
          await (small ? this.#inbox.rest() : this.#inbox.gather(DELIVERY_SIZE - first.length));
        const { pieces, size, end } = this.#takeChunks(first);
        small = (small || pieces.length >= SMALL_CHUNKS) && size < pieces.length * SMALL_CHUNK_SIZE;
        if (!abandoned && pieces.length > 0) {
          let taken: unknown;
          try {
            taken = await this.#unlessInterrupted(deliver(pieces));
          } catch (error) {
            if (error instanceof NothingMoreComes && end === undefined)
              return { kind: 'abandoned', cause: error.failure };
            abandon(error instanceof NothingMoreComes ? error.failure : error);
          }
          if (taken === INTERRUPTED && !abandoned && this.#closed) throw this.#closed;
        }
        if (end === undefined) continue;
        if (abandoned && end === 'refused') this.#expectSpareCancelChunk();
        return abandoned ?? { kind: end };
      }
    } finally {
      signal.removeEventListener('abort', aborted);
    }
  }

  /** Sends a piece of a file, unless it is to end in the middle of it. */
  async #writeChunks(piece: Buffer, scratch: Buffer, ended: () => boolean): Promise<void> {
    for (let start = 0; start < piece.length && !ended(); start += DELIVERY_SIZE) {
      await this.#outbox.writeThrough(encodeChunks(piece.subarray(start, start + DELIVERY_SIZE), scratch));
    }
  }

  /**
   * Some procedures of the daemon (internal_readdir, internal_filesystem_walk, internal_find_inode,
   * internal_yara_scan) send the cancel chunk twice: once where they see the flag, and once more
   * at their end. It comes before anything else, if it comes.
   */
  #expectSpareCancelChunk(): void {
    const next = this.#inbox.peek();
    if (next === undefined) this.#spareCancelChunk = true;
    else if (next.equals(CANCEL_CHUNK)) this.#inbox.take();
  }

  /** The chunk in `first`, and those after it that are there already. */
  #takeChunks(first: Buffer): { pieces: Buffer[]; size: number; end: 'complete' | 'refused' | undefined } {
    const pieces: Buffer[] = [];
    let size = 0;
    let message: Buffer | undefined = first;
    while (message !== undefined) {
      const chunk = decodeChunk(message);
      if (chunk.cancel) return { pieces, size, end: 'refused' };
      if (chunk.data.length === 0) return { pieces, size, end: 'complete' };
      pieces.push(chunk.data);
      size += chunk.data.length;
      message = size + MAX_CHUNK_SIZE <= DELIVERY_SIZE ? this.#inbox.take() : undefined;
    }
    return { pieces, size, end: undefined };
  }

  /**
   * What `pending` gives, or INTERRUPTED. Not Promise.race: that would leave a reaction behind
   * for every piece of a file.
   */
  #unlessInterrupted<Value>(pending: Promise<Value>): Promise<Value | typeof INTERRUPTED> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve(INTERRUPTED);
      pending.then(resolve, reject);
    });
  }
}

/**
 * Transfers files to and from a daemon, in chunks, including their cancellation.
 *
 * There is one file at a time, and no message of another kind until it has ended. Both sides always agree on the end:
 * an upload ends with a last chunk (which cancels an incomplete one), and a download is read up to the daemon's last
 * chunk, even after it was cancelled. Only the end of the connection ends a file without one.
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

/** Maximum number of bytes that are delivered, or split into chunks, at once. */
const DELIVERY_SIZE = 128 * 1024;
/** Chunks count as small once a delivery consists of at least this many ... */
const SMALL_CHUNKS = 8;
/** ... and as long as their average size in bytes is below this. */
const SMALL_CHUNK_SIZE = 512;

/**
 * Thrown by the receiver of a download when the data shows that the daemon will send neither the rest
 * of the file nor its last chunk.
 */
export class NothingMoreComes extends Error {
  /** @param failure the error that the call then fails with */
  constructor(readonly failure: GuestfsError) {
    super(failure.message, { cause: failure });
  }
}

/** How a file ended: complete, refused by the daemon, or abandoned by this side. */
export type FileEnd =
  | { readonly kind: 'complete' }
  /**
   * The daemon answered the call without asking for an end of the file, and takes what still comes for calls. `begun`:
   * parts of the file have been sent, which cannot be taken back.
   */
  | { readonly kind: 'answered'; readonly begun: boolean }
  | { readonly kind: 'refused' }
  | { readonly kind: 'abandoned'; readonly cause: unknown };

const INTERRUPTED = Symbol('interrupted');

export class FileTransfer {
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  /** Ends the wait for the next piece of an upload, or for the receiver of a download. */
  #interrupt: (() => void) | undefined;
  /** Aborted when the daemon cancels the upload in progress. */
  #refused = abortController();
  /** Aborted when the daemon answers the call of the upload in progress. */
  #answered: AbortController | undefined;
  /** The daemon may send a second cancel chunk for the most recently cancelled download. */
  #spareCancelChunk = false;
  #closed: GuestfsError | undefined;

  constructor(inbox: Inbox, outbox: Outbox) {
    this.#inbox = inbox;
    this.#outbox = outbox;
  }

  /** Must be called before the call of an upload is sent: from then on the daemon may refuse its file. */
  expectUpload(): void {
    this.#refused = abortController();
  }

  /** Handles the daemon's cancel flag. Without an upload in progress, it is a late one: the daemon sends it just before its reply. */
  refuse(): void {
    this.#refused.abort();
  }

  /** Handles a message that is no chunk: during an upload it can only be the answer to its call. */
  noteMessage(): void {
    this.#answered?.abort();
  }

  /** Whether this message, the first since a download was cancelled, is a superfluous second cancel chunk. */
  isSpareCancelChunk(message: Buffer): boolean {
    const isSpare = this.#spareCancelChunk && message.equals(CANCEL_CHUNK);
    this.#spareCancelChunk = false;
    return isSpare;
  }

  /** Must be called when the connection is closed: a file in progress fails with `error`. */
  close(error: GuestfsError): void {
    this.#closed = error;
    this.#interrupt?.();
  }

  /**
   * Sends a file until it is complete, the daemon refuses it, the source fails or the signal aborts.
   * @throws GuestfsError if the connection is closed
   */
  async upload(source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<FileEnd> {
    const refused = this.#refused.signal;
    const answering = abortController();
    const answered = answering.signal;
    this.#answered = answering;
    // The answer may be there already.
    if (!this.#inbox.isEmpty) answering.abort();
    let begun = false;
    const iterator = source[Symbol.asyncIterator]();
    const interrupt = (): void => this.#interrupt?.();
    const answeredNow = (): void => {
      // The daemon may never read again what a write waits for.
      this.#outbox.giveUp();
      interrupt();
    };
    const scratch = Buffer.allocUnsafeSlow(chunksSize(DELIVERY_SIZE));
    signal.addEventListener('abort', interrupt);
    refused.addEventListener('abort', interrupt);
    answered.addEventListener('abort', answeredNow);
    let ended: FileEnd | undefined;
    try {
      while (ended === undefined) {
        const stopped = (): boolean => signal.aborted || refused.aborted || answered.aborted;
        const next = stopped() ? INTERRUPTED : await this.#unlessInterrupted(iterator.next());
        if (this.#closed) throw this.#closed;
        if (answered.aborted) ended = { kind: 'answered', begun };
        else if (refused.aborted) ended = { kind: 'refused' };
        else if (signal.aborted || next === INTERRUPTED) ended = { kind: 'abandoned', cause: signal.reason };
        else if (next.done) ended = { kind: 'complete' };
        else {
          begun = true;
          await this.#writeChunks(next.value, scratch, stopped);
        }
      }
    } catch (error) {
      if (this.#closed) throw error;
      ended = { kind: 'abandoned', cause: error };
    } finally {
      signal.removeEventListener('abort', interrupt);
      refused.removeEventListener('abort', interrupt);
      answered.removeEventListener('abort', answeredNow);
      this.#answered = undefined;
      // Not awaited: the source may be waiting for its client.
      if (ended?.kind !== 'complete') void iterator.return?.().catch(() => undefined);
    }
    // A daemon that has already answered would treat the chunk as a call.
    if (ended.kind !== 'answered') await this.#outbox.write(encodeLastChunk(ended.kind !== 'complete'));
    return ended;
  }

  /**
   * Receives a file up to the daemon's last chunk.
   * @param deliver gets the pieces in order, at most {@link DELIVERY_SIZE} bytes at a time; what it throws cancels the
   *   transfer as the protocol defines it, except for {@link NothingMoreComes}
   * @throws GuestfsError if the connection is closed
   */
  async download(deliver: (pieces: readonly Buffer[]) => Promise<void>, signal: AbortSignal): Promise<FileEnd> {
    let abandoned: (FileEnd & { readonly kind: 'abandoned' }) | undefined;
    const abandon = (why: unknown): void => {
      if (abandoned) return;
      abandoned = { kind: 'abandoned', cause: why ?? new GuestfsError('CANCELLED', 'the transfer was cancelled') };
      // Not awaited: if the connection has failed, waiting for the next chunk fails as well.
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
        // The first chunk is delivered without delay: it may be the only one for a long time.
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

  /** Sends a piece of a file; stops in the middle of it when the transfer has ended. */
  async #writeChunks(piece: Buffer, scratch: Buffer, ended: () => boolean): Promise<void> {
    for (let start = 0; start < piece.length && !ended(); start += DELIVERY_SIZE) {
      await this.#outbox.writeThrough(encodeChunks(piece.subarray(start, start + DELIVERY_SIZE), scratch));
    }
  }

  /**
   * Some procedures of the daemon (internal_readdir, internal_filesystem_walk, internal_find_inode,
   * internal_yara_scan) send the cancel chunk twice: when they see the flag, and again at their end.
   * The second one, if any, comes before any other message.
   */
  #expectSpareCancelChunk(): void {
    const next = this.#inbox.peek();
    if (next === undefined) this.#spareCancelChunk = true;
    else if (next.equals(CANCEL_CHUNK)) this.#inbox.take();
  }

  /** The chunk in `first`, and those after it that are already queued. */
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
   * The result of `pending`, or INTERRUPTED. Unlike Promise.race, it leaves no reaction behind
   * for every piece of a file.
   */
  #unlessInterrupted<Value>(pending: Promise<Value>): Promise<Value | typeof INTERRUPTED> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve(INTERRUPTED);
      pending.then(resolve, reject);
    });
  }
}

/** Splits the bytes from the daemon into frames; no I/O. */
import { CANCEL_FLAG, LAUNCH_FLAG, MESSAGE_MAX, PROGRESS_FLAG, PROGRESS_SIZE } from './constants.js';
import { decodeProgress, ProtocolError, type ProgressMessage } from './messages.js';

/** A frame from the daemon. The bytes of a message may be a view of the pushed buffer. */
export type Frame =
  | { readonly kind: 'launch' }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'progress'; readonly progress: ProgressMessage }
  | { readonly kind: 'message'; readonly bytes: Buffer };

const WORD = 4;
const NOTHING = Buffer.alloc(0);

/** Takes bytes in pieces of any size, and returns complete frames. */
export class FrameDecoder {
  /** The expected item and its size. */
  #expecting: 'word' | 'message' | 'progress' = 'word';
  #needed = WORD;
  /**
   * The start of that item, if it arrived in an earlier piece. Grows with the bytes received, so that a peer
   * cannot cause a large allocation with only a length word, or quadratic cost by sending single bytes.
   */
  #kept = NOTHING;
  #keptLength = 0;

  /**
   * Yields the frames that these bytes complete; the caller must consume them all.
   * @throws ProtocolError on a length over the limit, before anything is allocated for it
   */
  *push(bytes: Buffer): Generator<Frame, void, void> {
    for (let at = 0; ; ) {
      const end = at + this.#needed - this.#keptLength;
      if (bytes.length < end) {
        if (at < bytes.length) this.#keep(bytes.subarray(at));
        return;
      }
      const frame = this.#accept(bytes, at, end);
      at = end;
      if (frame) yield frame;
    }
  }

  /** Takes the bytes from `at` to `end`, which complete the expected item. */
  #accept(bytes: Buffer, at: number, end: number): Frame | undefined {
    // Most words arrive in one piece and can be read without a copy.
    if (this.#expecting === 'word' && this.#keptLength === 0) return this.#word(bytes.readUInt32BE(at));
    const part = bytes.subarray(at, end);
    const whole = this.#keptLength === 0 ? part : this.#completedBy(part);
    const was = this.#expecting;
    if (was === 'word') return this.#word(whole.readUInt32BE(0));
    this.#expecting = 'word';
    this.#needed = WORD;
    return was === 'message'
      ? { kind: 'message', bytes: whole }
      : { kind: 'progress', progress: decodeProgress(whole) };
  }

  #word(word: number): Frame | undefined {
    switch (word) {
      case LAUNCH_FLAG:
        return { kind: 'launch' };
      case CANCEL_FLAG:
        return { kind: 'cancel' };
      case PROGRESS_FLAG:
        this.#expecting = 'progress';
        this.#needed = PROGRESS_SIZE;
        return undefined;
      default:
        if (word > MESSAGE_MAX) throw new ProtocolError(`message of ${word} bytes; at most ${MESSAGE_MAX} are allowed`);
        this.#expecting = 'message';
        this.#needed = word;
        return undefined;
    }
  }

  #keep(bytes: Buffer): void {
    const length = this.#keptLength + bytes.length;
    if (length > this.#kept.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#needed, Math.max(length, 2 * this.#kept.length)));
      this.#kept.copy(larger, 0, 0, this.#keptLength);
      this.#kept = larger;
    }
    bytes.copy(this.#kept, this.#keptLength);
    this.#keptLength = length;
  }

  #completedBy(last: Buffer): Buffer {
    this.#keep(last);
    const whole = this.#kept;
    this.#kept = NOTHING;
    this.#keptLength = 0;
    return whole;
  }
}

/**
 * How many streams of a connection may still be reset. An HTTP/2 server closes a connection whose client resets too
 * many streams, with all calls on it: nghttp2, and so Node.js, allows 1000, and 33 more per second.
 */

/** Kept below what the server allows, since the two clocks and the moments of counting differ. */
const MOST = 900;
const PER_SECOND = 30;

export class ResetBudget {
  #used = 0;
  #usedAt = performance.now();

  /** Counts a reset. */
  add(): void {
    this.#used = this.#left() + 1;
    this.#usedAt = performance.now();
  }

  /** Whether so many more resets are allowed. */
  covers(more: number): boolean {
    return this.#left() + more <= MOST;
  }

  /** The resets that the server still counts. */
  #left(): number {
    return Math.max(0, this.#used - ((performance.now() - this.#usedAt) / 1000) * PER_SECOND);
  }
}

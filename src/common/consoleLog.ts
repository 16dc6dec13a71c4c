/** Keeps the end of an appliance's console output. */

/** Bytes kept. */
export const LOG_LIMIT = 256 * 1024;

/** Initial size of the buffer, which then doubles. */
const INITIAL_SIZE = 4096;

export class ConsoleLog {
  /** Used as a ring buffer once it has its full size. */
  #buffer = Buffer.allocUnsafe(INITIAL_SIZE);
  /** Total number of bytes received. */
  #total = 0;

  append(bytes: Buffer): void {
    const kept = bytes.subarray(Math.max(0, bytes.length - LOG_LIMIT));
    this.#total += bytes.length - kept.length;
    this.#grow(kept.length);
    const start = this.#total % this.#buffer.length;
    const first = kept.subarray(0, this.#buffer.length - start);
    first.copy(this.#buffer, start);
    kept.copy(this.#buffer, 0, first.length);
    this.#total += kept.length;
  }

  /** Total number of bytes received. */
  get total(): number {
    return this.#total;
  }

  /** At most the last `limit` bytes of what was received after the first `total`. */
  tailSince(total: number, limit: number = LOG_LIMIT): Buffer {
    return this.tail(Math.min(limit, this.#total - total));
  }

  /** How many bytes were dropped before those that are kept. */
  get droppedBytes(): number {
    return Math.max(0, this.#total - LOG_LIMIT);
  }

  /** At most the last `limit` bytes. */
  tail(limit: number = LOG_LIMIT): Buffer {
    const size = Math.min(limit, this.#total, LOG_LIMIT);
    const end = this.#total % this.#buffer.length;
    if (size <= end) return Buffer.from(this.#buffer.subarray(end - size, end));
    const wrapped = size - end;
    return Buffer.concat([this.#buffer.subarray(this.#buffer.length - wrapped), this.#buffer.subarray(0, end)]);
  }

  /** Makes room for `more` bytes; nothing is overwritten until the ring has its full size. */
  #grow(more: number): void {
    const needed = Math.min(LOG_LIMIT, this.#total + more);
    if (needed <= this.#buffer.length) return;
    let size = this.#buffer.length;
    while (size < needed) size *= 2;
    const larger = Buffer.allocUnsafe(size);
    this.#buffer.copy(larger, 0, 0, Math.min(this.#total, this.#buffer.length));
    this.#buffer = larger;
  }
}

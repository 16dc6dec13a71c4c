/**
 * File descriptors of this process. Whatever is about to take several asks first, and is refused while there are still
 * some: for connections that come, for files that are being written, for ending in order.
 *
 * Node.js raises the soft limit to the hard one when it starts.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { limitExceeded } from './limitExceeded.js';

/** Kept free of what asks. */
const RESERVE = 64;
const RETRY_AFTER_MS = 5000;

/** How many this process may have. */
function currentLimit(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return soft === undefined ? Infinity : Number(soft);
}

/** How many it has. */
function currentUse(): number {
  // One of them is that of the directory.
  return readdirSync('/proc/self/fd').length - 1;
}

export class Descriptors {
  /** Claimed, and perhaps not opened yet. */
  #claimed = 0;

  /**
   * @param limit how many there can be
   * @param inUse how many there are
   */
  constructor(
    readonly limit: number = currentLimit(),
    private readonly inUse: () => number = currentUse,
  ) {}

  /**
   * The most connections that leave enough for sessions: half of what there is, and at least one.
   * @param wanted as many as there may be otherwise
   */
  connections(wanted: number): number {
    return Math.max(Math.min(wanted, Math.floor((this.limit - RESERVE) / 2)), 1);
  }

  /**
   * Claims descriptors that are about to be opened.
   * @returns how to give the claim up, once they are open, or will not be
   * @throws GuestfsError LIMIT_EXCEEDED when there are not enough
   */
  claim(count: number): () => void {
    if (this.limit !== Infinity && this.inUse() + this.#claimed + count + RESERVE > this.limit)
      throw limitExceeded(
        `the server has too few free file descriptors for this call; its limit is ${this.limit}: try again later`,
        { limit: 'file-descriptors', maximum: this.limit, retryAfterMs: RETRY_AFTER_MS },
      );
    this.#claimed += count;
    let given = false;
    return () => {
      if (!given) this.#claimed -= count;
      given = true;
    };
  }

  /** Runs work that opens so many descriptors. @throws GuestfsError LIMIT_EXCEEDED; what the work throws */
  async while<Value>(count: number, work: () => Promise<Value>): Promise<Value> {
    const release = this.claim(count);
    try {
      return await work();
    } finally {
      release();
    }
  }
}

/** Those of this process. */
export const descriptors = new Descriptors();

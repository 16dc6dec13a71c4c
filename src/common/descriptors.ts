/**
 * File descriptors of this process. Work that needs several of them has to claim them first, and is refused before they
 * run out: some are kept for new connections, for files that are being written, and for an orderly shutdown.
 *
 * Node.js raises the soft limit to the hard one when it starts.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { limitExceeded } from './limitExceeded.js';

/** Descriptors that cannot be claimed. */
const RESERVE = 64;
const RETRY_AFTER_MS = 5000;
/** With fewer, Node.js cannot load the server, which opens many files at once, and hardly a session can be launched. */
const FEWEST = 256;

/** How many descriptors this process may have. */
function currentLimit(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return soft === undefined ? Infinity : Number(soft);
}

/** How many descriptors this process has. */
function currentUse(): number {
  // One of them belongs to the directory listing itself.
  return readdirSync('/proc/self/fd').length - 1;
}

export class Descriptors {
  /** Descriptors that were claimed, and may not have been opened yet. */
  #claimed = 0;

  /**
   * @param limit how many descriptors there can be
   * @param inUse how many there are now
   */
  constructor(
    readonly limit: number = currentLimit(),
    private readonly inUse: () => number = currentUse,
  ) {}

  /** @throws Error if the limit is too low for a server */
  requireEnough(): void {
    if (this.limit < FEWEST)
      throw new Error(
        `the limit of file descriptors (ulimit -n) is ${this.limit}, and the server needs at least ${FEWEST}: raise the hard limit, for example with 'ulimit -n 4096', or with LimitNOFILE= for systemd`,
      );
  }

  /**
   * The maximum number of connections that leaves enough descriptors for sessions: half of them, but at least one.
   * @param wanted upper bound, by the configuration
   */
  connections(wanted: number): number {
    return Math.max(Math.min(wanted, Math.floor((this.limit - RESERVE) / 2)), 1);
  }

  /**
   * Claims descriptors that are about to be opened.
   * @returns a function that gives up the claim, to be called once they are open, or will not be opened
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

  /** Runs work that opens this many descriptors. @throws GuestfsError LIMIT_EXCEEDED; what the work throws */
  async while<Value>(count: number, work: () => Promise<Value>): Promise<Value> {
    const release = this.claim(count);
    try {
      return await work();
    } finally {
      release();
    }
  }
}

/** The descriptors of this process. */
export const descriptors = new Descriptors();

/** Limits how many tasks run concurrently; the others wait in order. */
import { onAbort, throwIfAborted } from './waiting.js';

/** How many may wait, and the error for the next one. */
export interface WaitingLimit {
  readonly most: number;
  readonly refusal: () => Error;
}

interface Waiting {
  readonly start: () => void;
  readonly refuse: (reason: unknown) => void;
}

export class Semaphore {
  readonly #waiting = new Set<Waiting>();
  #running = 0;

  /**
   * @param parallel how many may run at a time
   * @param limit how many may wait; by default any number
   */
  constructor(
    private readonly parallel: number,
    private readonly limit?: WaitingLimit,
  ) {}

  /** How many are running or waiting. */
  get length(): number {
    return this.#running + this.#waiting.size;
  }

  /**
   * Waits for a turn. The caller must call the returned function when done; calling it again has no effect.
   * @throws the refusal of the limit, the reason of {@link refuseWaiting}, or that of `signal` if it aborts before the turn
   */
  async acquire(signal: AbortSignal): Promise<() => void> {
    throwIfAborted(signal);
    if (!this.#startNow()) await this.#turn(signal);
    return this.#releaseOnce();
  }

  /**
   * Runs a task when it is its turn. A task whose signal aborts while it waits is never started.
   * @throws what {@link acquire} throws, or the error of the task
   */
  async run<Value>(task: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    throwIfAborted(signal);
    // A task that need not wait is started before this returns.
    if (!this.#startNow()) await this.#turn(signal);
    const release = this.#releaseOnce();
    try {
      return await task();
    } finally {
      release();
    }
  }

  /** Rejects all waiting tasks. */
  refuseWaiting(reason: unknown): void {
    for (const waiting of [...this.#waiting]) waiting.refuse(reason);
  }

  #startNow(): boolean {
    if (this.#running >= this.parallel) return false;
    this.#running += 1;
    return true;
  }

  #turn(signal: AbortSignal): Promise<void> {
    if (this.limit !== undefined && this.#waiting.size >= this.limit.most) throw this.limit.refusal();
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiting);
        stopListening();
      };
      const waiting: Waiting = {
        start: () => {
          leave();
          resolve();
        },
        refuse: (reason) => {
          leave();
          reject(reason);
        },
      };
      this.#waiting.add(waiting);
      const stopListening = onAbort(signal, waiting.refuse);
    });
  }

  #releaseOnce(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      // The slot is handed over directly, so that a newcomer cannot take it.
      const [next] = this.#waiting;
      if (next === undefined) this.#running -= 1;
      else next.start();
    };
  }
}

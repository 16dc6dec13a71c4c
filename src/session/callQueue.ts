/** The turn of calls in a session: one at a time, in order, in a bounded queue. */
import { GuestfsError } from '../common/errors.js';

/** Calls that wait in one session at most. */
export const QUEUE_LIMIT = 128;
const RETRY_AFTER_MS = 1000;

interface Waiting {
  readonly start: () => void;
  readonly refuse: (reason: unknown) => void;
}

export class CallQueue {
  readonly #waiting: Waiting[] = [];
  #running = false;

  /** Calls that run or wait. */
  get length(): number {
    return this.#waiting.length + (this.#running ? 1 : 0);
  }

  /**
   * Waits for the turn; the caller must call what it gets when it is done.
   * @throws GuestfsError QUEUE_FULL; or the signal's reason, if it aborts before the turn
   */
  async turn(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (!this.#running) {
      this.#running = true;
      return this.#release();
    }
    if (this.#waiting.length >= QUEUE_LIMIT) {
      throw new GuestfsError('QUEUE_FULL', `${QUEUE_LIMIT} calls wait in this session already`, {
        metadata: { limit: String(QUEUE_LIMIT) },
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    await new Promise<void>((start, refuse) => {
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        refuse(signal.reason);
      };
      const settled =
        <Argument>(settle: (argument: Argument) => void) =>
        (argument: Argument): void => {
          signal.removeEventListener('abort', giveUp);
          settle(argument);
        };
      const waiting: Waiting = { start: settled(start), refuse: settled(refuse) };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', giveUp, { once: true });
    });
    return this.#release();
  }

  /** Refuses all that wait. */
  refuseWaiting(reason: unknown): void {
    for (const waiting of this.#waiting.splice(0)) waiting.refuse(reason);
  }

  #release(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      if (next) next.start();
      else this.#running = false;
    };
  }
}

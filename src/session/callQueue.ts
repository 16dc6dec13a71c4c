/** The turn of calls in a session: one at a time, in order, in a bounded queue. */
import { GuestfsError } from '../common/errors.js';
import { Semaphore } from '../common/semaphore.js';

/** Maximum number of calls waiting in one session. */
export const QUEUE_LIMIT = 128;
const RETRY_AFTER_MS = 1000;

function queueFull(): GuestfsError {
  return new GuestfsError('QUEUE_FULL', `${QUEUE_LIMIT} calls are already waiting in this session: try again later`, {
    metadata: { limit: String(QUEUE_LIMIT) },
    retryAfterMs: RETRY_AFTER_MS,
  });
}

export class CallQueue {
  readonly #turns = new Semaphore(1, { most: QUEUE_LIMIT, refusal: queueFull });

  /** Number of calls that are running or waiting. */
  get length(): number {
    return this.#turns.length;
  }

  /**
   * Waits for the turn. The caller must call the returned function when done.
   * @throws GuestfsError QUEUE_FULL; or the signal's reason, if it aborts before the turn
   */
  turn(signal: AbortSignal): Promise<() => void> {
    return this.#turns.acquire(signal);
  }

  /** Rejects all waiting calls. */
  refuseWaiting(reason: unknown): void {
    this.#turns.refuseWaiting(reason);
  }
}

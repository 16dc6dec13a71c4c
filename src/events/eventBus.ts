/** Delivers the events of one session to its subscribers, without waiting for any of them. */
import { limitExceeded } from '../common/limitExceeded.js';
import { EventSubscription } from './eventSubscription.js';
import type { EventKind, SessionEvent } from './sessionEvent.js';

/** Maximum number of subscriptions to one session: events that wait for slow subscribers take memory. */
export const MAX_SUBSCRIPTIONS = 64;
const RETRY_AFTER_MS = 1000;

export class EventBus {
  readonly #subscriptions = new Set<EventSubscription>();
  #sequence = 0n;
  #closed = false;

  /** Sends an event to every subscriber of its kind. */
  emit(event: SessionEvent): void {
    this.#sequence += 1n;
    for (const subscription of this.#subscriptions)
      subscription.offer({ event, time: new Date(), sequence: this.#sequence });
  }

  /** True if this kind has subscribers; expensive events are built only then. */
  wants(kind: EventKind): boolean {
    for (const subscription of this.#subscriptions) if (subscription.wants(kind)) return true;
    return false;
  }

  /**
   * Starts a subscription to `kinds`; if empty, to all kinds.
   * @throws GuestfsError LIMIT_EXCEEDED
   */
  subscribe(kinds: readonly EventKind[]): EventSubscription {
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS) {
      throw limitExceeded(`the session has ${MAX_SUBSCRIPTIONS} subscribers, which is the limit`, {
        limit: 'subscriptions',
        maximum: MAX_SUBSCRIPTIONS,
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    const subscription = new EventSubscription(kinds, () => this.#subscriptions.delete(subscription));
    if (this.#closed) subscription.end();
    else this.#subscriptions.add(subscription);
    return subscription;
  }

  /** Ends every subscription after its queued events. */
  close(): void {
    this.#closed = true;
    for (const subscription of [...this.#subscriptions]) subscription.end();
  }
}

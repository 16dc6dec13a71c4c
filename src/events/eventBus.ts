/** Delivers the events of one session to its subscribers, without waiting for any of them. */
import { EventSubscription } from './eventSubscription.js';
import type { EventKind, SessionEvent } from './sessionEvent.js';

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

  /** Begins a subscription to `kinds`; if empty, to all kinds. */
  subscribe(kinds: readonly EventKind[]): EventSubscription {
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

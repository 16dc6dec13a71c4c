/** One subscriber's bounded queue of events: those that do not fit are counted and dropped. */
import type { EventKind, NumberedEvent } from './sessionEvent.js';

/** Maximum number of events that wait for a subscriber ... */
const QUEUE_LIMIT = 1024;
/** ... and of UTF-16 units in their texts: a console sends up to 64 KiB in one event. */
const TEXT_LIMIT = 512 * 1024;

/** An event, and how many were lost just before it. */
export interface DeliveredEvent extends NumberedEvent {
  readonly lost: bigint;
}

function textLength({ event }: NumberedEvent): number {
  return 'message' in event ? event.message.length : 0;
}

export class EventSubscription implements AsyncIterable<DeliveredEvent> {
  readonly #kinds: ReadonlySet<EventKind>;
  readonly #unsubscribe: () => void;
  readonly #queue: DeliveredEvent[] = [];
  /** Length of the texts in the queue. */
  #queued = 0;
  #lost = 0n;
  #ended = false;
  #wake: (() => void) | undefined;

  /** @param kinds if empty: all */
  constructor(kinds: readonly EventKind[], unsubscribe: () => void) {
    this.#kinds = new Set(kinds);
    this.#unsubscribe = unsubscribe;
  }

  wants(kind: EventKind): boolean {
    return this.#kinds.size === 0 || this.#kinds.has(kind);
  }

  /** Queues an event if its kind is subscribed to and the queue has room. */
  offer(event: NumberedEvent): void {
    if (this.#ended || !this.wants(event.event.kind)) return;
    const length = textLength(event);
    // An event that is larger than the queue is accepted if the queue is empty.
    const full = this.#queue.length > 0 && this.#queued + length > TEXT_LIMIT;
    if (full || this.#queue.length >= QUEUE_LIMIT) {
      this.#lost += 1n;
      return;
    }
    this.#queued += length;
    this.#queue.push({ ...event, lost: this.#lost });
    this.#lost = 0n;
    this.#wake?.();
  }

  /** Accepts no more events; those in the queue are still delivered. */
  end(): void {
    this.#ended = true;
    this.#unsubscribe();
    this.#wake?.();
  }

  /** The events, until the session ends or the loop is left. */
  async *[Symbol.asyncIterator](): AsyncGenerator<DeliveredEvent> {
    try {
      for (;;) {
        const next = this.#queue.shift();
        if (next !== undefined) {
          this.#queued -= textLength(next);
          yield next;
          continue;
        }
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.end();
    }
  }
}

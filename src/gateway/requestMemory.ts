/**
 * Memory for requests on their way to the server, counted as they arrive: what a client announces and does not send
 * takes none.
 */
import { limitExceeded } from '../common/limitExceeded.js';

const RETRY_AFTER_MS = 1000;

export interface MemoryLimits {
  /** For all clients, bytes. */
  readonly all: number;
  /** For each of them. */
  readonly client: number;
}

export const MEMORY_LIMITS: MemoryLimits = { all: 128 * 1024 * 1024, client: 64 * 1024 * 1024 };

/** What one request takes. */
export interface Held {
  /** @throws GuestfsError LIMIT_EXCEEDED */
  add(bytes: number): void;
  /** Everything so far has been sent on, or dropped. */
  release(): void;
  /** As {@link release}; what is added afterwards does not count, as nobody will take it. */
  end(): void;
}

export class GatewayMemory {
  #held = 0;
  readonly #clients = new Map<string, number>();

  constructor(private readonly limits: MemoryLimits = MEMORY_LIMITS) {}

  /** Bytes that are held. */
  get held(): number {
    return this.#held;
  }

  /** For a request of a client. */
  for(client: string): Held {
    let own = 0;
    let ended = false;
    const change = (bytes: number): void => {
      own += bytes;
      this.#held += bytes;
      const left = (this.#clients.get(client) ?? 0) + bytes;
      if (left === 0) this.#clients.delete(client);
      else this.#clients.set(client, left);
    };
    return {
      add: (bytes) => {
        if (ended) return;
        change(bytes);
        const { all, client: each } = this.limits;
        const mine = (this.#clients.get(client) ?? 0) > each;
        if (!mine && this.#held <= all) return;
        throw limitExceeded(
          mine
            ? `the requests of this client take more than ${each} bytes of the gateway's memory`
            : `the requests of all clients take more than ${all} bytes of the gateway's memory`,
          { limit: 'gateway-request-memory', maximum: mine ? each : all, retryAfterMs: RETRY_AFTER_MS },
        );
      },
      release: () => change(-own),
      end: () => {
        ended = true;
        change(-own);
      },
    };
  }
}

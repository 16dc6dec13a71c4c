/** Repeats a call where the service says that nothing was done: at another replica, or after a while. */
import { wait } from './cancellation.js';
import type { Connections, Route } from './connections.js';
import { GuestfsRpcError } from './error.js';
import type { CallOptions } from './options.js';

/** A call goes from one replica to another at most this often. */
const HOP_LIMIT = 3;
/** Nobody wants a call to wait for longer without being asked. */
const LONGEST_DELAY_MS = 30_000;
/** Clients that were refused together do not come back together. */
const SPREAD = 0.2;

/** The calls of it need a launch, not a repetition. */
const NOT_REPEATED: ReadonlySet<string> = new Set(['APPLIANCE_GONE']);

/** What one call has tried so far. */
export class Attempts {
  readonly #connections: Connections;
  readonly #options: CallOptions;
  readonly #signals: readonly (AbortSignal | undefined)[];
  #hops = 0;
  #retries = 0;

  /**
   * @param connections those of the client
   * @param options of the call; its deadline covers all attempts
   * @param signals that end it
   */
  constructor(connections: Connections, options: CallOptions, signals: readonly (AbortSignal | undefined)[]) {
    this.#connections = connections;
    this.#options = options;
    this.#signals = signals;
  }

  /**
   * Waits for the time of the next attempt.
   * @param error that of the last one
   * @param route where that was made
   * @returns where to make the next one
   * @throws the error, if there is none
   */
  async next(error: unknown, route: Route): Promise<Route> {
    if (!(error instanceof GuestfsRpcError)) throw error;
    const other = this.#hops < HOP_LIMIT ? await this.#connections.elsewhere(error) : undefined;
    if (other !== undefined) {
      this.#hops += 1;
      return other;
    }
    const delay = this.#delayOf(error);
    if (delay === undefined) throw error;
    this.#retries += 1;
    await wait(delay, this.#signals);
    return route;
  }

  /** Milliseconds until a repetition; undefined: it is not repeated. */
  #delayOf({ info }: GuestfsRpcError): number | undefined {
    if (info?.retryAfterMs === undefined || info.domain !== 'guestfs' || NOT_REPEATED.has(info.reason))
      return undefined;
    if (this.#retries >= this.#connections.retries || info.retryAfterMs > LONGEST_DELAY_MS) return undefined;
    const delay = info.retryAfterMs * (1 + SPREAD * Math.random());
    const { deadline } = this.#options;
    return deadline !== undefined && Date.now() + delay >= Number(deadline) ? undefined : delay;
  }
}

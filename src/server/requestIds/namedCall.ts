/**
 * A call that has a request ID and changes something. Its clients come and go: the one that made it, and those that
 * repeat it because they have lost their connection, or because a proxy has given up. It runs once, and whoever waits
 * for it at its end gets its answer.
 */
import { GuestfsError } from '../../common/errors.js';
import { onBehalfOf } from '../../common/onBehalf.js';
import { abortController, onAbort, reasonOf } from '../../common/waiting.js';
import type { CallLife } from '../callScope.js';
import type { Outcome } from './outcome.js';

/** How long it goes on, once it has begun, while nobody waits for it: enough for a proxy or client to repeat it. */
export const LINGER_MS = 3000;

/** A call that is known by its request ID. */
export interface KnownCall {
  /** Name of the RPC. */
  readonly rpc: string;
  readonly fingerprint: string;
}

export class NamedCall implements KnownCall, CallLife {
  readonly outlivesClients = true;
  readonly requestId: string;
  readonly rpc: string;
  readonly fingerprint: string;
  readonly #controller = abortController();
  readonly #ended: Promise<Outcome>;
  #end: (outcome: Outcome) => void = () => undefined;
  #outcome: Outcome | undefined;
  #clients = 0;
  #claim: (() => void) | undefined;
  #begun = false;
  #tied: boolean;
  #linger: NodeJS.Timeout | undefined;

  /** @param tied to the client that makes it, whose data it takes or whom it sends its answer in parts */
  constructor(requestId: string, { rpc, fingerprint }: KnownCall, tied: boolean) {
    this.requestId = requestId;
    this.rpc = rpc;
    this.fingerprint = fingerprint;
    this.#tied = tied;
    this.#ended = new Promise((resolve) => (this.#end = resolve));
  }

  /** Aborts when the call is given up. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Nobody waits for it any more. */
  get isAbandoned(): boolean {
    return this.#clients === 0 || this.signal.aborted;
  }

  /** It may have changed something. */
  get hasBegun(): boolean {
    return this.#begun;
  }

  onBehalfOf(client: string): void {
    onBehalfOf(client, this.signal);
  }

  begun(): void {
    this.#begun = true;
  }

  /** The data of its client, which it needs no longer once it has all of it. */
  async *taking(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    yield* chunks;
    this.#tied = false;
  }

  cancel(reason: GuestfsError): void {
    clearTimeout(this.#linger);
    if (this.#outcome === undefined) this.#controller.abort(reason);
  }

  async claimed(): Promise<void> {
    if (this.isAbandoned && !this.signal.aborted)
      await new Promise<void>((resolve) => {
        this.#claim = resolve;
        onAbort(this.signal, () => resolve());
      });
  }

  /** It has ended. */
  settle(outcome: Outcome): void {
    clearTimeout(this.#linger);
    this.#outcome = outcome;
    this.#end(outcome);
  }

  /**
   * Waits for its end.
   * @param client aborts when the client that waits has gone
   * @throws GuestfsError the reason of `client`; why the call was given up
   */
  async outcome(client: AbortSignal): Promise<Outcome> {
    if (this.#outcome !== undefined) return this.#outcome;
    this.#clients += 1;
    this.#claim?.();
    clearTimeout(this.#linger);
    let stop = (): void => undefined;
    try {
      return await new Promise<Outcome>((resolve, reject) => {
        const stopClient = onAbort(client, reject);
        // Whoever asks only now wants to know how it ends.
        const stopCall = this.signal.aborted ? undefined : onAbort(this.signal, () => reject(this.#cutOff()));
        stop = () => {
          stopClient();
          stopCall?.();
        };
        this.#ended.then(resolve, reject);
      });
    } finally {
      stop();
      this.#clients -= 1;
      if (this.#clients === 0 && client.aborted) this.#left(GuestfsError.from(reasonOf(client)));
    }
  }

  #left(reason: GuestfsError): void {
    if (this.#outcome !== undefined) return;
    if (!this.#begun || this.#tied) {
      this.cancel(reason);
      return;
    }
    this.#linger = setTimeout(() => this.cancel(reason), LINGER_MS);
    this.#linger.unref();
  }

  /** The error for a client that waits for a call that another one has cancelled. */
  #cutOff(): GuestfsError {
    const { reason, message, details } = GuestfsError.from(reasonOf(this.signal));
    return this.#begun ? outcomeUnknown(reason, message, details) : new GuestfsError(reason, message, details);
  }
}

/** The error for a call that was cut off when it may have changed something. */
export function outcomeUnknown(reason: string, message: string, details: GuestfsError['details'] = {}): GuestfsError {
  return new GuestfsError(
    reason,
    `${message}; whether the call has an effect is unknown: call it again with the same request ID to find out, or GetSession to see whether it still runs`,
    { ...details, metadata: { ...details.metadata, outcome: 'unknown' } },
  );
}

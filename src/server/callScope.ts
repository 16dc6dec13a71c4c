/** The lifetime of a gRPC call. */
import type { Deadline, Metadata, ServerUnaryCall } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
import { onBehalfOf } from '../common/onBehalf.js';
import { belongsTo, type Span } from '../common/spans.js';
import { abortController } from '../common/waiting.js';

/** What all kinds of grpc-js server calls have in common. */
export interface ServerCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getDeadline(): Deadline;
  getPeer(): string;
  getAuthContext(): ReturnType<ServerUnaryCall<unknown, unknown>['getAuthContext']>;
  once(event: 'cancelled', listener: () => void): unknown;
  off(event: 'cancelled', listener: () => void): unknown;
}

/** The life of a call, for its implementation. */
export interface CallLife {
  /**
   * Aborts when the client cancels or disconnects, or when the deadline passes. Created when it is first used: many
   * calls have been answered before anything could wait for it, and it costs more than most of them.
   */
  readonly signal: AbortSignal;
  /** It goes on for a while without clients, and has to tell others how it ended. */
  readonly outlivesClients?: boolean;
  /** Nobody waits for the answer any more. */
  readonly isAbandoned: boolean;
  /** Aborts {@link signal}. */
  cancel(reason: GuestfsError): void;
  /** Resolves when a client waits for the answer, or when the call is given up. Left out: there is none but the first. */
  claimed?(): Promise<void>;
  /** Called when the call begins, and may change something from then on. */
  begun?(): void;
}

/** The lifetime of a call. */
export interface CallScope extends CallLife {
  /** Declares for which client the work of the call is done: see onBehalf.ts. */
  onBehalfOf(client: string): void;
  /** Declares to which span the work of the call belongs: see spans.ts. */
  belongsTo(span: Span): void;
  /** Must be called once the call is answered; the signal no longer aborts then. */
  end(): void;
}

/**
 * The scope of a call. grpc-js emits "cancelled" for answered calls as well; without `end`, each would create an unused
 * error with a stack trace.
 */
export function scopeOf(call: ServerCall): CallScope {
  return new Scope(call);
}

class Scope implements CallScope {
  readonly #call: ServerCall;
  #controller: AbortController | undefined;
  #client: string | undefined;
  #span: Span | undefined;
  #ended = false;

  constructor(call: ServerCall) {
    this.#call = call;
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const { signal } = (this.#controller = abortController());
    if (this.#client !== undefined) onBehalfOf(this.#client, signal);
    if (this.#span !== undefined) belongsTo(this.#span, signal);
    if (!this.#ended) {
      if (this.#call.cancelled) this.#abort();
      this.#call.once('cancelled', this.#abort);
    }
    return signal;
  }

  get isAbandoned(): boolean {
    return this.#call.cancelled || this.#controller?.signal.aborted === true;
  }

  cancel(reason: GuestfsError): void {
    if (this.#ended) return;
    // Creates the controller.
    if (!this.signal.aborted) this.#controller?.abort(reason);
  }

  onBehalfOf(client: string): void {
    this.#client = client;
    if (this.#controller !== undefined) onBehalfOf(client, this.#controller.signal);
  }

  belongsTo(span: Span): void {
    this.#span = span;
    if (this.#controller !== undefined) belongsTo(span, this.#controller.signal);
  }

  end(): void {
    this.#ended = true;
    if (this.#controller !== undefined) this.#call.off('cancelled', this.#abort);
  }

  readonly #abort = (): void => {
    const deadline = Number(this.#call.getDeadline());
    this.#controller?.abort(
      deadline <= Date.now()
        ? new GuestfsError('DEADLINE_EXCEEDED', 'the deadline of the call has passed')
        : new GuestfsError('CANCELLED', 'the client cancelled the call or disconnected'),
    );
  };
}

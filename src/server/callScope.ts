/** The lifetime of a gRPC call. */
import type { Deadline, Metadata, ServerUnaryCall } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
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

/** The lifetime of a call. */
export interface CallScope {
  /** Aborts when the client cancels or disconnects, or when the deadline passes. */
  readonly signal: AbortSignal;
  /** Must be called once the call is answered; the signal no longer aborts then. */
  end(): void;
}

/**
 * The scope of a call. grpc-js emits "cancelled" for answered calls as well; without `end`, each would create an unused
 * error with a stack trace.
 */
export function scopeOf(call: ServerCall): CallScope {
  const controller = abortController();
  const abort = (): void => {
    const deadline = Number(call.getDeadline());
    controller.abort(
      deadline <= Date.now()
        ? new GuestfsError('DEADLINE_EXCEEDED', 'the deadline of the call has passed')
        : new GuestfsError('CANCELLED', 'the client cancelled the call or disconnected'),
    );
  };
  if (call.cancelled) abort();
  call.once('cancelled', abort);
  return { signal: controller.signal, end: () => void call.off('cancelled', abort) };
}

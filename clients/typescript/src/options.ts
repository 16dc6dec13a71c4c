/** Options of calls, and their cancellation. */
import { randomUUID } from 'node:crypto';
import type { CallOptions as GrpcCallOptions, Metadata } from '@grpc/grpc-js';

/** The metadata key of the request ID. */
export const REQUEST_ID_HEADER = 'guestfs-request-id';

/** Options of one call. */
export interface CallOptions {
  /** Aborting it cancels the call, which fails with CANCELLED; the signal's reason is the error's cause. */
  readonly signal?: AbortSignal | undefined;
  /** When the call fails with DEADLINE_EXCEEDED, if it has not ended: a date, or milliseconds as `Date.now()` counts them. */
  readonly deadline?: Date | number | undefined;
  /**
   * The request ID: 1 to 64 of `A-Z a-z 0-9 . _ -`. By default each call has one of its own. With that of a call whose
   * answer was lost, the same call is made once in all, and gets the answer.
   */
  readonly requestId?: string | undefined;
  /** Receives the initial metadata of the answer to a unary call, if there is any, before the answer. */
  readonly onMetadata?: ((metadata: Metadata) => void) | undefined;
}

/** Converts them to those of grpc-js. */
export function grpcOptions({ deadline }: CallOptions): GrpcCallOptions {
  return deadline === undefined ? {} : { deadline };
}

/** The metadata of a call: what all calls have, and its request ID, unless all of them have the same. */
export function namedMetadata(shared: Metadata, { requestId }: CallOptions): Metadata {
  const metadata = shared.clone();
  if (requestId !== undefined || metadata.get(REQUEST_ID_HEADER).length === 0)
    metadata.set(REQUEST_ID_HEADER, requestId ?? randomUUID());
  return metadata;
}

/** The request ID in the metadata of a call. */
export function requestIdIn(metadata: Metadata): string {
  return String(metadata.get(REQUEST_ID_HEADER)[0]);
}

interface Cancellable {
  cancel(): void;
}

/** The calls that a signal cancels. One listener serves them all: Node warns when a signal has more than ten. */
const underWay = new WeakMap<AbortSignal, Set<Cancellable>>();

function callsOf(signal: AbortSignal): Set<Cancellable> {
  const known = underWay.get(signal);
  if (known !== undefined) return known;
  const calls = new Set<Cancellable>();
  underWay.set(signal, calls);
  const cancelAll = (): void => {
    for (const call of calls) call.cancel();
  };
  signal.addEventListener('abort', cancelAll, { once: true });
  return calls;
}

/**
 * Cancels a call when one of the signals aborts, or at once if one has already aborted.
 * @returns a function to call when the call has ended
 */
export function cancelOnAbort(call: Cancellable, signals: readonly (AbortSignal | undefined)[]): () => void {
  const given = signals.filter((signal) => signal !== undefined);
  if (given.some((signal) => signal.aborted)) call.cancel();
  for (const signal of given) callsOf(signal).add(call);
  return () => {
    for (const signal of given) callsOf(signal).delete(call);
  };
}

/** The first of the signals that was aborted. */
export function abortedOf(signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  return signals.find((signal) => signal?.aborted);
}

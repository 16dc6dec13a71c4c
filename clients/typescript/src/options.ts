/** What any call can be given, and how it is cancelled. */
import type { CallOptions as GrpcCallOptions } from '@grpc/grpc-js';

/** Options of one call. */
export interface CallOptions {
  /** Aborting it cancels the call, which fails with CANCELLED; the signal's reason is the error's cause. */
  readonly signal?: AbortSignal | undefined;
  /** When the call fails with DEADLINE_EXCEEDED, if it has not ended: a date, or milliseconds as `Date.now()` counts them. */
  readonly deadline?: Date | number | undefined;
}

/** As grpc-js takes them. */
export function grpcOptions({ deadline }: CallOptions): GrpcCallOptions {
  return deadline === undefined ? {} : { deadline };
}

/**
 * Cancels a call when one of the signals is aborted.
 * @returns stops listening, for when the call is over
 */
export function cancelOnAbort(call: { cancel(): void }, signals: readonly (AbortSignal | undefined)[]): () => void {
  const given = signals.filter((signal) => signal !== undefined);
  const cancel = (): void => call.cancel();
  if (given.some((signal) => signal.aborted)) cancel();
  for (const signal of given) signal.addEventListener('abort', cancel, { once: true });
  return () => {
    for (const signal of given) signal.removeEventListener('abort', cancel);
  };
}

/** The first of the signals that was aborted. */
export function abortedOf(signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  return signals.find((signal) => signal?.aborted);
}

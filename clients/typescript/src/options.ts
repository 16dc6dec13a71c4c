/** Options of calls. */
import { randomUUID } from 'node:crypto';
import type { CallOptions as GrpcCallOptions, Metadata } from '@grpc/grpc-js';
import { clientError } from './error.js';
import type { CallProgress } from './progress.js';

/** The metadata key of the request ID. */
export const REQUEST_ID_HEADER = 'guestfs-request-id';

/** Options of one call. */
export interface CallOptions {
  /** Aborting it cancels the call, which fails with CANCELLED; the signal's reason is the error's cause. */
  readonly signal?: AbortSignal | undefined;
  /**
   * When the call fails with DEADLINE_EXCEEDED, if it has not ended: a date, or milliseconds as `Date.now()` counts them.
   * It covers all attempts.
   */
  readonly deadline?: Date | number | undefined;
  /**
   * The request ID: 1 to 64 of `A-Z a-z 0-9 . _ -`. By default each call has one of its own. With that of a call whose
   * answer was lost, the same call is made once in all, and gets the answer.
   */
  readonly requestId?: string | undefined;
  /**
   * Receives the progress of a method for an action; what it throws cancels the call, which fails with that. The session's
   * events are subscribed to for it, before the call is made.
   */
  readonly onProgress?: ((progress: CallProgress) => void) | undefined;
  /** Receives the initial metadata of the answer to a unary call, if there is any, before the answer. */
  readonly onMetadata?: ((metadata: Metadata) => void) | undefined;
}

/** Options, with the action that the call is for. */
export interface ActionCallOptions extends CallOptions {
  readonly action?: string | undefined;
}

/** The options that each call takes. */
export const CALL_OPTIONS: readonly string[] = ['signal', 'deadline', 'requestId', 'onProgress', 'onMetadata'];

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Not by its class: there are others than Node's. */
function isSignal(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value;
}

/** What is wrong with an option of a call; undefined if nothing is. */
function fault({ signal, deadline, requestId, onProgress, onMetadata }: CallOptions): string | undefined {
  if (signal !== undefined && !isSignal(signal)) return 'signal has to be an AbortSignal';
  if (
    deadline !== undefined &&
    ((typeof deadline !== 'number' && !(deadline instanceof Date)) || isNaN(Number(deadline)))
  )
    return 'deadline has to be a Date, or milliseconds as Date.now() counts them';
  if (requestId !== undefined && (typeof requestId !== 'string' || !REQUEST_ID.test(requestId)))
    return 'requestId has to be 1 to 64 of A-Z a-z 0-9 . _ -';
  for (const [name, value] of Object.entries({ onProgress, onMetadata }))
    if (value !== undefined && typeof value !== 'function') return `${name} has to be a function`;
  return undefined;
}

/**
 * Refuses options that the compiler would have refused.
 * @throws GuestfsRpcError BAD_ARGUMENT
 */
export function checkOptions(rpc: string, options: ActionCallOptions): void {
  const wrong = fault(options);
  if (wrong !== undefined) throw clientError(rpc, 'BAD_ARGUMENT', wrong, { action: options.action });
}

/** Converts them to those of grpc-js. */
export function grpcOptions({ deadline }: CallOptions): GrpcCallOptions {
  return deadline === undefined ? {} : { deadline };
}

/** The request ID of a call, in all its attempts: its own, that of all calls with this metadata, or a new one. */
export function requestIdOf(shared: Metadata, { requestId }: CallOptions): string {
  return requestId ?? shared.get(REQUEST_ID_HEADER)[0]?.toString() ?? randomUUID();
}

/** The metadata of a call: what all calls have, and its request ID. */
export function namedMetadata(shared: Metadata, options: CallOptions): Metadata {
  const metadata = shared.clone();
  metadata.set(REQUEST_ID_HEADER, requestIdOf(shared, options));
  return metadata;
}

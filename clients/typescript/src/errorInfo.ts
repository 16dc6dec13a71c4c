/** Reads the details of an error that the service sends with its status: `google.rpc.Status` in the trailers. */
import type { Metadata } from '@grpc/grpc-js';
import type { Duration } from '../../../gen/proto/google/protobuf/duration.js';
import { BadRequest, ErrorInfo as ErrorInfoMessage, RetryInfo } from '../../../gen/proto/google/rpc/error_details.js';
import { Status } from '../../../gen/proto/google/rpc/status.js';

/** The trailer that carries it. */
const DETAILS_TRAILER = 'grpc-status-details-bin';
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';
const MILLISECONDS = 1000;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** The details of an error. */
export interface ErrorInfo {
  /** An errno's name, such as `ENOENT`, or one of the service's own reasons, such as `IMAGE_LOCKED`. */
  readonly reason: string;
  /** The domain of the reason: `guestfs`. */
  readonly domain: string;
  /** Further details: `action` and `state` of the session, and those of the reason's entry in docs/errors.md. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of the invalid fields of the request. */
  readonly fields: readonly string[];
  /** After how many milliseconds a retry may help; undefined where none is suggested. */
  readonly retryAfterMs: number | undefined;
}

function milliseconds({ seconds, nanos }: Duration): number {
  return Number(seconds) * MILLISECONDS + nanos / NANOSECONDS_PER_MILLISECOND;
}

/** The details in the trailers of an error; undefined if there are none, as when the server cannot be reached. */
export function errorInfoOf(trailers: Metadata): ErrorInfo | undefined {
  const [status] = trailers.get(DETAILS_TRAILER);
  if (!Buffer.isBuffer(status)) return undefined;
  const details = new Map(Status.decode(status).details.map(({ type_url, value }) => [type_url, value]));
  const detail = (type: string): Uint8Array => details.get(TYPE_PREFIX + type) ?? new Uint8Array();
  const { reason, domain, metadata } = ErrorInfoMessage.decode(detail('ErrorInfo'));
  const { retry_delay } = RetryInfo.decode(detail('RetryInfo'));
  return {
    reason,
    domain,
    metadata: Object.fromEntries(metadata),
    fields: BadRequest.decode(detail('BadRequest')).field_violations.map(({ field }) => field),
    retryAfterMs: retry_delay === undefined ? undefined : milliseconds(retry_delay),
  };
}

/** `google.rpc.Status` and the details that go into it, as bytes for the trailer. */
import type { Metadata } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo } from '../../gen/proto/google/rpc/error_details.js';
import { Status } from '../../gen/proto/google/rpc/status.js';
import type { GuestfsError } from '../common/errors.js';
import { toDuration } from './durations.js';

/** The trailer that carries it. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';
/** Domain of our ErrorInfo. */
export const ERROR_DOMAIN = 'guestfs';

const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';

/** The bytes of a `google.rpc.Status` with ErrorInfo, and BadRequest and RetryInfo where they apply. */
export function encodeStatus(
  code: number,
  text: string,
  error: GuestfsError,
  metadata: ReadonlyMap<string, string>,
): Buffer {
  const { fields, retryAfterMs } = error.details;
  const info = { reason: error.reason, domain: ERROR_DOMAIN, metadata: new Map(metadata) };
  const details: [string, Uint8Array][] = [['ErrorInfo', ErrorInfo.encode(info).finish()]];
  if (fields) details.push(['BadRequest', BadRequest.encode({ field_violations: [...fields] }).finish()]);
  if (retryAfterMs !== undefined)
    details.push(['RetryInfo', RetryInfo.encode({ retry_delay: toDuration(retryAfterMs) }).finish()]);
  const status = {
    code,
    message: text,
    details: details.map(([type, value]) => ({ type_url: TYPE_PREFIX + type, value: Buffer.from(value) })),
  };
  return Buffer.from(Status.encode(status).finish());
}

/** The reason in the trailers of a status of ours; undefined for any other status. */
export function reasonIn(trailers: Metadata | null | undefined): string | undefined {
  const [bytes] = trailers?.get(DETAILS_TRAILER) ?? [];
  if (!Buffer.isBuffer(bytes)) return undefined;
  const info = Status.decode(bytes).details.find(({ type_url }) => type_url === `${TYPE_PREFIX}ErrorInfo`);
  return info === undefined ? undefined : ErrorInfo.decode(info.value).reason;
}

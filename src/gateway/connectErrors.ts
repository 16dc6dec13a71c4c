/** Errors of calls, for both protocols: code, text, details and metadata are those of the gRPC status. */
import { ConnectError } from '@connectrpc/connect';
import type { StatusObject } from '@grpc/grpc-js';
import { Status } from '../../gen/proto/google/rpc/status.js';
import type { Logger } from '../common/logger.js';
import { DETAILS_TRAILER } from '../server/errorDetails.js';
import { toStatus } from '../server/statusMapping.js';
import { addTo } from './callMetadata.js';

/** `type.googleapis.com/google.rpc.ErrorInfo` and the like. */
const TYPE = /^.*\//;

/** The error for a status other than OK. */
export function errorOf({ code, details: text, metadata }: StatusObject): ConnectError {
  const headers = new Headers();
  addTo(headers, metadata);
  // The codes are gRPC's, number for number.
  const error = new ConnectError(text, code as number, headers);
  const [bytes] = metadata.get(DETAILS_TRAILER);
  if (Buffer.isBuffer(bytes))
    error.details = Status.decode(bytes).details.map(({ type_url: url, value }) => ({
      type: url.replace(TYPE, ''),
      value,
    }));
  return error;
}

/** The error for anything that was thrown; what is neither Connect's nor ours is logged, and not shown. */
export function errorFrom(thrown: unknown, logger: Logger): ConnectError {
  return thrown instanceof ConnectError ? thrown : errorOf(toStatus(thrown, {}, logger));
}

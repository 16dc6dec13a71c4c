/**
 * Observes how every call ends, whether its handler, another interceptor, grpc-js (an expired deadline, a malformed
 * request) or its client ends it. Counts it, and completes its record.
 *
 * As it is on every method, it also keeps grpc-js from running a call that has ended before its request is complete:
 * without any interceptor, grpc-js passes on a request that arrives after the deadline.
 */
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import type { AuditLog } from './auditLog.js';
import { connectionUnder } from './callConnection.js';
import { CallRecord, recordUnder, type CallFailure } from './callRecord.js';
import { reasonIn } from './errorDetails.js';
import { http2StreamOf, metadataOf, replaceStatus, whenClosed, type SentStatus } from './grpcInternals.js';
import { countRefusal, meterOf } from './callMetrics.js';
import { outcomeUnknown } from './requestIds/namedCall.js';
import { rpcAt } from './rpcNames.js';
import { toStatus } from './statusMapping.js';
import type { CallTracer } from './tracing/callSpan.js';

/** What the client sees; the reason for a status made by grpc-js is the status itself. */
function failureIn({ code, details, metadata }: SentStatus): CallFailure | undefined {
  if (code === status.OK) return undefined;
  return { code: status[code], reason: reasonIn(metadata) ?? status[code], message: details ?? '' };
}

/** The status of a call whose deadline has passed, with details: grpc-js, which notices it, sends none. */
function lateStatus(sent: SentStatus, { name, mayHaveEffect }: CallRecord, logger: Logger): SentStatus {
  if (reasonIn(sent.metadata) !== undefined) return sent;
  const passed = 'the deadline of the call has passed';
  const error = mayHaveEffect
    ? outcomeUnknown('DEADLINE_EXCEEDED', passed)
    : new GuestfsError('DEADLINE_EXCEEDED', passed, { metadata: { outcome: 'none' } });
  return toStatus(error, { action: name }, logger);
}

const GONE: SentStatus = { code: status.CANCELLED, details: 'the client cancelled the call or disconnected' };

/**
 * Must be the first interceptor, to see statuses as the others have changed them.
 * @param tracer undefined: calls have no spans
 */
export function observeCalls(logger: Logger, audit?: AuditLog, tracer?: CallTracer): ServerInterceptor {
  return (method, call) => {
    const { path } = method;
    const end = meterOf(method).begin();
    const rpc = rpcAt(path);
    const metadata = metadataOf(call);
    const record = rpc === undefined ? undefined : new CallRecord(rpc, logger, audit, tracer?.start(path, metadata));
    let isOver = false;
    const over = (sent: SentStatus): void => {
      if (isOver) return;
      isOver = true;
      const failure = failureIn(sent);
      end(sent.code, failure?.reason);
      if (record !== undefined) countRefusal(sent.code, record.identity);
      record?.answered(failure);
    };
    const stream = http2StreamOf(call);
    replaceStatus(call, (sent) => {
      // grpc-js treats the end of a connection as a half-close, and reports that the request is missing.
      over(stream.closed ? GONE : sent);
      return record === undefined || sent.code !== status.DEADLINE_EXCEEDED ? sent : lateStatus(sent, record, logger);
    });
    // Without a status: grpc-js reports no cancellation if the stream was already closed when it checked.
    whenClosed(stream, () => over(GONE));
    if (record !== undefined) recordUnder(metadata, record);
    if (stream.session !== undefined) connectionUnder(metadata, stream.session);
    return new ServerInterceptingCall(call);
  };
}

/** Limits the calls of one client that are in flight. */
import type { ServerInterceptingCall, ServerInterceptor } from '@grpc/grpc-js';
import { limitExceeded } from '../common/limitExceeded.js';
import type { Logger } from '../common/logger.js';
import type { ClientOf } from './client.js';
import { http2StreamOf, whenClosed } from './grpcInternals.js';
import { rpcAt } from './rpcNames.js';
import { toStatus } from './statusMapping.js';

const RETRY_AFTER_MS = 1000;

/** Refuses a call if its client has `most` others in flight. Streams count until they are closed. */
export function limitingCalls(most: number, clientOf: ClientOf, logger: Logger): ServerInterceptor {
  const inFlight = new Map<string, number>();
  return ({ path }, call) => {
    const client = clientOf(call);
    const others = inFlight.get(client) ?? 0;
    inFlight.set(client, others + 1);
    const stream = http2StreamOf(call);
    whenClosed(stream, () => {
      const left = (inFlight.get(client) ?? 1) - 1;
      if (left > 0) inFlight.set(client, left);
      else inFlight.delete(client);
    });
    if (others >= most) {
      const error = limitExceeded(
        `this client has ${most} calls in flight, which is the limit (--max-calls-per-client)`,
        {
          limit: 'max-calls-per-client',
          maximum: most,
          retryAfterMs: RETRY_AFTER_MS,
        },
      );
      // Through a complete call object; the interceptors above it are not called.
      process.nextTick(() => call.sendStatus(toStatus(error, { action: rpcAt(path)?.name ?? path }, logger)));
    }
    return call as ServerInterceptingCall;
  };
}

/** Size limits of requests, and the errors for requests that exceed them. */
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';
import { takesAnySize } from '../actions/shape.js';
import type { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { REQUEST_LIMIT, requestTooLarge } from '../common/messageLimits.js';
import { chunkTooLarge } from './fileIn.js';
import { replaceDecoder, replaceStatus, type SentStatus } from './grpcInternals.js';
import { LargeRequestReader, type RequestMemory } from './largeRequests.js';
import { rpcAt, type NamedRpc } from './rpcNames.js';
import { toStatus } from './statusMapping.js';

/** The messages of grpc-js for a request over the limit, before or after decompression. */
const TOO_LARGE = /^Received message (?:larger than max \((\d+) |that decompresses to a size larger)/;

/** Our error for a request that grpc-js refuses. */
function refusal({ name, action }: NamedRpc, isClientStream: boolean, sent: SentStatus): GuestfsError | undefined {
  const match = sent.code === status.RESOURCE_EXHAUSTED ? TOO_LARGE.exec(sent.details ?? '') : null;
  if (match === null) return undefined;
  const size = match[1] === undefined ? undefined : Number(match[1]);
  if (isClientStream) return chunkTooLarge(size);
  return requestTooLarge(
    name,
    action !== undefined && takesAnySize(action) ? 'decompression' : 'server',
    REQUEST_LIMIT,
    size,
  );
}

/**
 * Allows requests up to the request memory for actions that accept contents of any size, and
 * answers requests over a limit with our own message and details. grpc-js
 * refuses them where it reads their length, below all interceptors: see `grpcInternals.ts`.
 */
export function limitingRequests({
  memory,
  logger,
}: {
  readonly memory: RequestMemory;
  readonly logger: Logger;
}): ServerInterceptor {
  return (method, call) => {
    const rpc = rpcAt(method.path);
    if (rpc === undefined) return call as ServerInterceptingCall;
    const { name, action } = rpc;
    const reader =
      action !== undefined && takesAnySize(action)
        ? new LargeRequestReader({
            action: name,
            ordinary: REQUEST_LIMIT,
            memory,
            onStall: ({ message }) => sendStatus({ code: status.DEADLINE_EXCEEDED, details: message }),
          })
        : undefined;
    const sendStatus = replaceStatus(call, (sent) => {
      const refused = reader?.refusal ?? refusal(rpc, method.requestStream, sent);
      if (refused === undefined) return sent;
      return toStatus(refused, { action: name }, logger);
    });
    if (reader === undefined) return call as ServerInterceptingCall;
    replaceDecoder(call, reader);
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMessage: (request: unknown, passOn) => {
            reader.decoded(request);
            passOn(request);
          },
          // Called at every end of a call, not only when it is cancelled.
          onCancel: () => reader.close(),
        }),
    });
  };
}

/** Limits of requests (size, memory and time), and the errors for requests that exceed them. */
import { constants } from 'node:http2';
import { ServerInterceptingCall, status, type Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import { takesAnySize } from '../actions/shape.js';
import type { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { REQUEST_LIMIT, requestTooLarge } from '../common/messageLimits.js';
import type { ClientOf } from './client.js';
import { chunkTooLarge } from './fileIn.js';
import {
  http2StreamOf,
  metadataOf,
  replaceDecoder,
  replaceStatus,
  whenClosed,
  type SentStatus,
} from './grpcInternals.js';
import type { FlowWindows } from './flowWindows.js';
import { RequestMemory } from './requestMemory.js';
import { readUnder, RequestReader } from './requestReader.js';
import { rpcAt, type NamedRpc } from './rpcNames.js';
import { toStatus } from './statusMapping.js';

/** Memory for the requests of one client that are not large, bytes. */
export const SMALL_REQUEST_MEMORY = 64 * 1024 * 1024;

/** Largest request of health, reflection and similar services, bytes: theirs are all tiny. */
const FOREIGN_LIMIT = 64 * 1024;

/** grpc-js's message for a request that is too large after decompression. */
const TOO_LARGE = /^Received message that decompresses to a size larger/;

/** Our error for a request that grpc-js refuses. */
function refusal(
  { name, action }: Pick<NamedRpc, 'name' | 'action'>,
  isClientStream: boolean,
  sent: SentStatus,
): GuestfsError | undefined {
  if (sent.code !== status.RESOURCE_EXHAUSTED || !TOO_LARGE.test(sent.details ?? '')) return undefined;
  if (isClientStream) return chunkTooLarge(undefined);
  return requestTooLarge(
    name,
    action !== undefined && takesAnySize(action) ? 'decompression' : 'server',
    REQUEST_LIMIT,
    undefined,
  );
}

export interface RequestLimits {
  readonly clientOf: ClientOf;
  readonly windows: FlowWindows;
  /** For large requests. */
  readonly memory: RequestMemory;
  /** How long a request may go without progress, milliseconds. */
  readonly stallMs: number;
  /**
   * Called before more than a small part of a request is read.
   * @throws GuestfsError why the call is refused whatever its request
   */
  readonly admit: (rpc: NamedRpc, metadata: Metadata, call: Parameters<ServerInterceptor>[1]) => void;
  readonly logger: Logger;
}

/**
 * Allows requests up to the request memory for actions that accept content of any size, and answers requests over a
 * limit with our own message and details. grpc-js refuses them when it reads their length, below all interceptors: see
 * `grpcInternals.ts`.
 */
export function limitingRequests({
  clientOf,
  windows,
  memory: largeMemory,
  stallMs,
  admit,
  logger,
}: RequestLimits): ServerInterceptor {
  const memory = new RequestMemory(SMALL_REQUEST_MEMORY);
  return (method, call) => {
    const rpc = rpcAt(method.path);
    const named = rpc ?? { name: method.path, action: undefined };
    const { name, action } = named;
    const stream = http2StreamOf(call);
    const anySize = action !== undefined && takesAnySize(action);
    const largest = rpc === undefined ? FOREIGN_LIMIT : anySize ? largeMemory.size : REQUEST_LIMIT;
    const reader = new RequestReader({
      action: name,
      client: () => clientOf(call),
      largest,
      ...(method.requestStream ? { tooLarge: chunkTooLarge } : {}),
      memory,
      ordinary: REQUEST_LIMIT,
      largeMemory,
      admit: () => {
        if (rpc !== undefined) admit(rpc, metadataOf(call), call);
      },
      onLarge: () => windows.isLarge(stream, clientOf(call)),
      stallMs,
      onStall: ({ message }) => sendStatus({ code: status.DEADLINE_EXCEEDED, details: message }),
    });
    const sendStatus = replaceStatus(call, (sent) => {
      const refused = reader.refusal ?? refusal(named, method.requestStream, sent);
      if (refused === undefined) return sent;
      // Anything else that the client sends is discarded.
      setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
      return toStatus(refused, { action: name }, logger);
    });
    replaceDecoder(call, reader);
    const { session } = stream;
    whenClosed(stream, () => {
      reader.close();
      windows.closed(stream, session);
    });
    windows.opened(stream, (error) => {
      reader.overflow(error);
      sendStatus({ code: status.RESOURCE_EXHAUSTED, details: error.message });
    });
    if (method.requestStream) {
      readUnder(stream, reader);
    } else {
      // For a client stream, the time counts only while its handler waits for more: see requestFlow.ts.
      reader.awaitData();
      stream.once('end', () => reader.dataCame());
    }
    if (!anySize) return call as ServerInterceptingCall;
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMessage: (request: unknown, passOn) => {
            reader.decoded(request);
            passOn(request);
          },
        }),
    });
  };
}

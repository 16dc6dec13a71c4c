/** The calls of the gateway: Connect's handlers for all methods, which pass them on to the server. */
import { fromBinary, toBinary, type DescMethod, type Message } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import {
  ConnectError,
  createConnectRouter,
  createContextKey,
  type ConnectRouter,
  type HandlerContext,
  type MethodImpl,
} from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { REQUEST_LIMIT } from '../common/messageLimits.js';
import { hasOneRequest, pathOf, type Api } from './api.js';
import { addTo, metadataFrom } from './callMetadata.js';
import { errorFrom } from './connectErrors.js';
import { onlyOne, passOn } from './passOn.js';
import type { Held } from './requestMemory.js';
import type { Upstream } from './upstream.js';

/** The largest chunk of an upload is 1 MiB, which JSON makes longer by a third. */
export const STREAMED_MESSAGE_LIMIT = 1_500_000;
/** What timers of Node.js can wait for, milliseconds: 24 days. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
const CONNECT_TIMEOUT = 'connect-timeout-ms';
const GRPC_TIMEOUT = 'grpc-timeout';
/** The units of gRPC's header, milliseconds. */
const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** Who makes a call, and what becomes of its request and answer. */
export interface Caller {
  /** The client that limits count against. */
  readonly client: string;
  /** What the server is told about the client's certificate. */
  readonly certificate: string | undefined;
  /** The memory of its requests. */
  readonly held: Held;
  /** Called when the answer of a stream begins, with its headers. */
  readonly opened: (headers: Headers) => void;
  /** Called with the status that the call ends with. */
  readonly ended: (code: number) => void;
}

/** Where handlers find the caller. */
export const CALLER = createContextKey<Caller | undefined>(undefined);

/** Removes a deadline that is further away than timers can wait for, as if there was none. */
export function withoutEndlessTimeout(headers: Headers): void {
  const milliseconds = Number(headers.get(CONNECT_TIMEOUT) ?? 0);
  if (milliseconds > LONGEST_TIMEOUT_MS) headers.delete(CONNECT_TIMEOUT);
  const [, count = '0', unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(headers.get(GRPC_TIMEOUT) ?? '') ?? [];
  if (Number(count) * (UNITS_MS[unit] ?? 0) > LONGEST_TIMEOUT_MS) headers.delete(GRPC_TIMEOUT);
}

/** Makes Connect's handlers, by the path of their method. */
export function gatewayCalls(
  { services, registry }: Api,
  upstream: Upstream,
  logger: Logger,
): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    grpc: false,
    // Bodies that expand to much more than was sent.
    acceptCompression: [],
    maxTimeoutMs: LONGEST_TIMEOUT_MS,
    // What is false, zero or empty is in the answer as well; a misspelt field is an error.
    jsonOptions: { alwaysEmitImplicit: true, ignoreUnknownFields: false, registry },
  });
  for (const method of services.flatMap(({ methods }) => methods)) add(router, method, upstream, logger);
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

function add(router: ConnectRouter, method: DescMethod, upstream: Upstream, logger: Logger): void {
  const readMaxBytes = hasOneRequest(method) ? REQUEST_LIMIT : STREAMED_MESSAGE_LIMIT;
  router.rpc(method, implementationOf(method, upstream, logger), { readMaxBytes });
}

/** The types of messages are known at run time only. */
function implementationOf(method: DescMethod, upstream: Upstream, logger: Logger): MethodImpl<DescMethod> {
  const call = (requests: AsyncIterable<Message>, context: HandlerContext): AsyncGenerator<Buffer> =>
    answersOf(method, requests, context, upstream, logger);
  const decode = (answer: Buffer): Message => fromBinary(method.output, answer);
  const all = async function* (requests: AsyncIterable<Message>, context: HandlerContext): AsyncGenerator<Message> {
    for await (const answer of call(requests, context)) yield decode(answer);
  };
  const one = async (requests: AsyncIterable<Message>, context: HandlerContext): Promise<Message> =>
    decode(await onlyOne(call(requests, context)));
  const implementations = {
    unary: (request: Message, context: HandlerContext) => one(only(request), context),
    client_streaming: one,
    server_streaming: (request: Message, context: HandlerContext) => all(only(request), context),
    bidi_streaming: all,
  };
  return implementations[method.methodKind] as MethodImpl<DescMethod>;
}

async function* only(request: Message): AsyncGenerator<Message> {
  yield request;
}

async function* encoded(method: DescMethod, requests: AsyncIterable<Message>, held: Held): AsyncGenerator<Uint8Array> {
  for await (const request of requests) {
    yield toBinary(method.input, request);
    // The connection to the server has it.
    held.release();
  }
}

/** The encoded answers of a call. */
async function* answersOf(
  method: DescMethod,
  requests: AsyncIterable<Message>,
  context: HandlerContext,
  upstream: Upstream,
  logger: Logger,
): AsyncGenerator<Buffer> {
  const caller = context.values.get(CALLER);
  if (caller === undefined) throw new Error('a call without a caller');
  const { client, certificate, held } = caller;
  try {
    const metadata = metadataFrom(context.requestHeader, certificate);
    const timeoutMs = context.timeoutMs();
    const deadline = timeoutMs === undefined ? Infinity : Date.now() + timeoutMs;
    const call = await upstream.call(client, pathOf(method), metadata, deadline);
    yield* passOn(
      call,
      {
        requests: encoded(method, requests, held),
        signal: context.signal,
        opened: (initial) => {
          addTo(context.responseHeader, initial);
          if (method.methodKind === 'server_streaming') caller.opened(context.responseHeader);
        },
        closed: (trailers) => addTo(context.responseTrailer, trailers),
      },
      (end) => upstream.cutOff(end),
    );
    caller.ended(status.OK);
  } catch (error) {
    if (context.signal.aborted && !(error instanceof GuestfsError)) {
      caller.ended(ConnectError.from(error).code);
      throw error;
    }
    const shown = errorFrom(error, logger);
    caller.ended(shown.code);
    throw shown;
  }
}

/**
 * Everything that relies on private members of grpc-js, because no public interface provides it.
 * The version is pinned in package.json, and `grpcInternals.test.ts` fails if a member is missing or
 * behaves differently. Of `BaseServerInterceptingCall`, the call below all interceptors:
 *
 * - `stream`, its HTTP/2 stream: the only way to distinguish a request stream that was ended from
 *   one that was reset. grpc-js itself reports a half-close in both cases.
 * - `decoder`, which splits the received bytes into messages: replaced where a method has its
 *   own limit (`grpc.max_receive_message_length` is one limit for all methods), and used to check
 *   whether a message is incomplete, which grpc-js ignores at the end of a stream. Its
 *   `readState` is 0 between messages.
 * - `metadata`, which interceptors get only once the call is started.
 * - `sendStatus`, by which it refuses messages that are too large, below all interceptors:
 *   replaced, to give such a status our text and details.
 *
 * Of `ServerInterceptingCall`: `nextCall`, the call below an interceptor's, to get to the bottom.
 *
 * Of `Server`: `http2Servers`, for the limits of connections, which grpc-js does not have.
 *
 * One more assumption: `serializeMessage` copies the result of a method's `responseSerialize` before
 * it returns, so `fileMessages.ts` can reuse its buffer.
 */
import type { Http2Server, ServerHttp2Stream } from 'node:http2';
import type { Metadata, Server, ServerInterceptingCallInterface } from '@grpc/grpc-js';

/** Any call that an interceptor can receive. */
export type InterceptedCall = ServerInterceptingCallInterface;

/** Splits received data into messages, each with its header of five bytes. Its errors become RESOURCE_EXHAUSTED. */
export interface MessageDecoder {
  /** 0 if no part of a message has arrived. */
  readonly readState: number;
  write(data: Buffer): Buffer[];
}

/** A status, in the form in which grpc-js's own call sends it. */
export type SentStatus = Parameters<InterceptedCall['sendStatus']>[0];

interface BaseCall {
  readonly metadata: Metadata;
  readonly stream: ServerHttp2Stream;
  decoder: MessageDecoder;
  sendStatus(status: SentStatus): void;
}

/** `readState` of grpc-js's decoder if no part of a message has arrived. */
const NO_DATA = 0;

/** The call below all interceptors. */
function baseOf(call: InterceptedCall): BaseCall {
  let base = call as unknown as Partial<BaseCall> & { readonly nextCall?: BaseCall };
  while (base.nextCall !== undefined) base = base.nextCall;
  if (base.stream === undefined || base.decoder === undefined)
    throw new Error('grpc-js has changed: a call has no stream or no decoder');
  return base as BaseCall;
}

/** The HTTP/2 stream of a call. */
export function http2StreamOf(call: InterceptedCall): ServerHttp2Stream {
  return baseOf(call).stream;
}

const CLOSERS = Symbol('closers');

type Closing = ServerHttp2Stream & { [CLOSERS]?: (() => void)[] };

/** Calls `listener` when the stream of a call closes. One listener of the stream serves all: each costs every call. */
export function whenClosed(stream: ServerHttp2Stream, listener: () => void): void {
  const closing = stream as Closing;
  if (closing[CLOSERS] !== undefined) {
    closing[CLOSERS].push(listener);
    return;
  }
  const closers = [listener];
  closing[CLOSERS] = closers;
  stream.once('close', () => {
    for (const close of closers) close();
  });
}

/** Whether only part of a message has arrived. */
export function isInsideMessage(call: InterceptedCall): boolean {
  return baseOf(call).decoder.readState !== NO_DATA;
}

/** The metadata of a call. */
export function metadataOf(call: InterceptedCall): Metadata {
  return baseOf(call).metadata;
}

/** The HTTP/2 servers of a gRPC server that is bound. */
export function http2ServersOf(server: Server): readonly Http2Server[] {
  const { http2Servers } = server as unknown as { readonly http2Servers?: ReadonlyMap<Http2Server, unknown> };
  if (http2Servers === undefined) throw new Error('grpc-js has changed: a server has no HTTP/2 servers');
  return [...http2Servers.keys()];
}

/** Makes a call use `decoder` to split its data into messages; must be called before any data arrives. */
export function replaceDecoder(call: InterceptedCall, decoder: MessageDecoder): void {
  baseOf(call).decoder = decoder;
}

/**
 * Replaces each status that a call ends with, including those of grpc-js itself.
 * @returns a function that sends a status, which is replaced as well
 */
export function replaceStatus(
  call: InterceptedCall,
  replace: (status: SentStatus) => SentStatus,
): (status: SentStatus) => void {
  const base = baseOf(call);
  const send = base.sendStatus.bind(base);
  const sendReplaced = (status: SentStatus): void => send(replace(status));
  base.sendStatus = sendReplaced;
  return sendReplaced;
}

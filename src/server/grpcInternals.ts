/**
 * Everything that relies on private members of grpc-js, which no public interface can do. The
 * version is pinned in package.json, and `grpcInternals.test.ts` fails when a member is gone or
 * behaves differently. Of `BaseServerInterceptingCall`, the call at the bottom of all interceptors:
 *
 * - `stream`, its HTTP/2 stream: the only place that tells a request stream that was ended from
 *   one that was reset. grpc-js itself reports a half-close in both cases.
 * - `decoder`, which cuts the bytes that arrive into messages: replaced where a method has a
 *   limit of its own (`grpc.max_receive_message_length` is one limit for all methods), and asked
 *   whether a message is incomplete, which grpc-js ignores at the end of a stream. Its
 *   `readState` is 0 between messages.
 * - `metadata`, which interceptors get only when the call is started.
 * - `sendStatus`, by which it refuses messages that are too large, below all interceptors:
 *   replaced, to give such a status our text and details.
 *
 * Of `ServerInterceptingCall`: `nextCall`, the call below an interceptor's, to get to the bottom.
 *
 * Of `Server`: `http2Servers`, for the limits of connections, which grpc-js does not have.
 *
 * One more assumption has no member: `serializeMessage` copies what a method's `responseSerialize`
 * returns before it returns, so that `fileMessages.ts` can reuse its buffer.
 */
import type { Http2Server, ServerHttp2Stream } from 'node:http2';
import type { Metadata, Server, ServerInterceptingCallInterface } from '@grpc/grpc-js';

/** Any call that an interceptor may be given. */
export type InterceptedCall = ServerInterceptingCallInterface;

/** Cuts what arrives into messages, each with its five bytes of header. What it throws becomes RESOURCE_EXHAUSTED. */
export interface MessageDecoder {
  /** 0 when nothing of a message has arrived. */
  readonly readState: number;
  write(data: Buffer): Buffer[];
}

/** A status as grpc-js's own call is asked to send it. */
export type SentStatus = Parameters<InterceptedCall['sendStatus']>[0];

interface BaseCall {
  readonly metadata: Metadata;
  readonly stream: ServerHttp2Stream;
  decoder: MessageDecoder;
  sendStatus(status: SentStatus): void;
}

/** `readState` of grpc-js's decoder when nothing of a message has arrived. */
const NO_DATA = 0;

/** The call at the bottom. */
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

/** Whether a part of a message has arrived, and not the rest. */
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

/** Has the messages of a call cut by `decoder`; before anything arrives. */
export function replaceDecoder(call: InterceptedCall, decoder: MessageDecoder): void {
  baseOf(call).decoder = decoder;
}

/**
 * Replaces each status that a call ends with, also those of grpc-js's own.
 * @returns sends a status, which is replaced as well
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

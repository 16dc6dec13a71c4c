/** Makes calls: every RPC of the generated code, whatever it streams, with a session's metadata or without. */
import { randomUUID } from 'node:crypto';
import type { Client, ClientReadableStream, ClientUnaryCall, ClientWritableStream, Metadata } from '@grpc/grpc-js';
import { asRpcError } from './error.js';
import {
  rpcName,
  type ClientStreamMethod,
  type FileInMessage,
  type FileInMethod,
  type FileOutMethod,
  type ServerStreamMethod,
  type UnaryMethod,
} from './methods.js';
import { abortedOf, cancelOnAbort, grpcOptions, namedMetadata, requestIdIn, type CallOptions } from './options.js';
import { abandon, piecesOf, type UploadSource } from './source.js';

/** A client-streaming call in progress. */
export interface OpenUpload<Request, Response> {
  /** Takes messages; `end()` ends them. */
  readonly stream: ClientWritableStream<Request>;
  /** The answer, which can arrive before everything is sent. */
  readonly answer: Promise<Response>;
}

export class Calls {
  readonly #channel: Client;
  readonly #metadata: Metadata;
  readonly #signal: AbortSignal | undefined;

  /**
   * @param channel the connection
   * @param metadata sent with each call
   * @param signal aborting it cancels all calls
   */
  constructor(channel: Client, metadata: Metadata, signal?: AbortSignal) {
    this.#channel = channel;
    this.#metadata = metadata;
    this.#signal = signal;
  }

  /**
   * Makes a unary call.
   * @throws GuestfsRpcError
   */
  async call<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    const { call, answer } = this.#answer<ClientUnaryCall, Response>(method, options, (metadata, settle) =>
      this.#channel.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadata,
        grpcOptions(options),
        settle,
      ),
    );
    if (options.onMetadata !== undefined) call.once('metadata', options.onMetadata);
    return answer;
  }

  /**
   * Calls a FileIn RPC and sends its file, no faster than the server accepts it. Larger chunks are sent in messages of
   * 1 MiB.
   * The source is no longer read once the call has ended; if the source fails, the call is cancelled.
   * @throws GuestfsRpcError, or what the source throws
   */
  async upload<Arguments, Response>(
    method: FileInMethod<Arguments, Response>,
    given: Arguments,
    source: UploadSource,
    options: CallOptions = {},
  ): Promise<Response> {
    const { stream, answer } = this.openUpload(method, options);
    let ended = false;
    let resume = (): void => undefined;
    const end = (): void => {
      ended = true;
      abandon(source);
      resume();
    };
    answer.then(end, end);
    const send = async (message: FileInMessage<Arguments>): Promise<void> => {
      if (stream.write(message) || ended) return;
      await new Promise<void>((resolve) => {
        resume = resolve;
        stream.once('drain', resolve);
      });
    };
    const sendAll = async (): Promise<void> => {
      await send({ payload: { $case: 'arguments', value: given } });
      for await (const value of piecesOf(source)) {
        if (ended) return;
        await send({ payload: { $case: 'chunk', value } });
      }
      stream.end();
    };
    const sourceFails = new Promise<never>((_resolve, reject) => {
      sendAll().catch((error: unknown) => {
        reject(error);
        // The service must not treat what was sent as the complete file.
        stream.cancel();
      });
    });
    return Promise.race([answer, sourceFails]);
  }

  /** A client-streaming call whose messages the caller writes. */
  openUpload<Request, Response>(
    method: ClientStreamMethod<Request, Response>,
    options: CallOptions = {},
  ): OpenUpload<Request, Response> {
    const { call: stream, answer } = this.#answer<ClientWritableStream<Request>, Response>(
      method,
      options,
      (metadata, settle) =>
        this.#channel.makeClientStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          metadata,
          grpcOptions(options),
          settle,
        ),
    );
    // After cancelling a call, there is no need to wait for its answer.
    answer.catch(() => undefined);
    return { stream, answer };
  }

  /**
   * The messages of a server-streaming call, such as the batches of a listing, no faster than they are requested.
   * The call is made when the first one is requested. Leaving the loop cancels it.
   * @throws GuestfsRpcError
   */
  async *stream<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): AsyncGenerator<Response> {
    const named = { ...options, requestId: options.requestId ?? randomUUID() };
    const call = this.openStream(method, request, named);
    // Cancelling a call without listeners would end the process.
    call.on('error', () => undefined);
    try {
      for await (const message of call) yield message as Response;
    } catch (error) {
      throw asRpcError(rpcName(method), error, { signal: this.#aborted(options), requestId: named.requestId });
    } finally {
      call.cancel();
    }
  }

  /**
   * The file that a FileOut RPC answers with, in chunks as they arrive. Leaving the loop cancels the call.
   * @throws GuestfsRpcError
   */
  async *download<Request>(
    method: FileOutMethod<Request>,
    request: Request,
    options: CallOptions = {},
  ): AsyncGenerator<Buffer> {
    for await (const { chunk } of this.stream(method, request, options)) yield chunk;
  }

  /** grpc-js's server-streaming call, with grpc-js's errors. */
  openStream<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): ClientReadableStream<Response> {
    const call = this.#channel.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      namedMetadata(this.#metadata, options),
      grpcOptions(options),
    );
    call.once('status', cancelOnAbort(call, [this.#signal, options.signal]));
    return call;
  }

  #aborted(options: CallOptions): AbortSignal | undefined {
    return abortedOf([options.signal, this.#signal]);
  }

  /** Starts a call that has one answer. */
  #answer<Call extends { cancel(): void }, Response>(
    method: { readonly path: string },
    options: CallOptions,
    begin: (metadata: Metadata, settle: (error: unknown, response?: Response) => void) => Call,
  ): { readonly call: Call; readonly answer: Promise<Response> } {
    const metadata = namedMetadata(this.#metadata, options);
    let settle: (error: unknown, response?: Response) => void = () => undefined;
    const answer = new Promise<Response>((resolve, reject) => {
      settle = (error, response) => {
        if (error === null) resolve(response as Response);
        else
          reject(
            asRpcError(rpcName(method), error, { signal: this.#aborted(options), requestId: requestIdIn(metadata) }),
          );
      };
    });
    const call = begin(metadata, (error, response) => {
      stop();
      settle(error, response);
    });
    const stop = cancelOnAbort(call, [this.#signal, options.signal]);
    return { call, answer };
  }
}

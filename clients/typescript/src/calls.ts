/** Makes calls: every RPC of the generated code, whatever it streams, with a session's metadata or without. */
import type { Client, ClientReadableStream, ClientUnaryCall, ClientWritableStream, Metadata } from '@grpc/grpc-js';
import { Attempts } from './attempts.js';
import { abortedOf, cancelOnAbort } from './cancellation.js';
import { Connections, type Route } from './connections.js';
import { Download } from './download.js';
import { asRpcError, clientError } from './error.js';
import {
  rpcName,
  type ClientStreamMethod,
  type FileInMessage,
  type FileInMethod,
  type FileOutMethod,
  type ServerStreamMethod,
  type UnaryMethod,
} from './methods.js';
import {
  checkOptions,
  grpcOptions,
  namedMetadata,
  requestIdOf,
  type ActionCallOptions,
  type CallOptions,
} from './options.js';
import { watchProgress, type Subscribe, type Watched } from './progress.js';
import { isUploadSource, RepeatableSource, type UploadSource } from './source.js';

/** A client-streaming call in progress. */
export interface OpenUpload<Request, Response> {
  /** Takes messages; `end()` ends them. */
  readonly stream: ClientWritableStream<Request>;
  /** The answer, which can arrive before everything is sent. */
  readonly answer: Promise<Response>;
}

type Path = { readonly path: string };

/** One attempt at a call. */
interface Attempt {
  readonly route: Route;
  readonly metadata: Metadata;
  readonly options: ActionCallOptions & { readonly requestId: string };
}

export class Calls {
  readonly #connections: Connections;
  readonly #signal: AbortSignal | undefined;
  readonly #direct: Metadata | undefined;
  #metadata: Metadata;
  /** Where the session is; calls without one begin at the first replica each time. */
  #route: Route;
  /** How the calls of a session subscribe to its events. */
  protected readonly subscribeEvents: Subscribe | undefined = undefined;

  /**
   * @param connection the connections of a client, or a channel alone: then no call is repeated
   * @param metadata sent with each call
   * @param signal aborting it cancels all calls
   * @param direct for calls of a session: the metadata at another replica than the first. A proxy may have changed the
   *   other one for itself
   */
  constructor(connection: Connections | Client, metadata: Metadata, signal?: AbortSignal, direct?: Metadata) {
    this.#connections = connection instanceof Connections ? connection : Connections.over(connection);
    this.#route = this.#connections.first;
    this.#metadata = metadata;
    this.#signal = signal;
    this.#direct = direct;
  }

  /**
   * Refuses calls that make no sense any more.
   * @throws GuestfsRpcError
   */
  protected requireOpen(rpc: string, _action: string | undefined): void {
    this.#connections.requireOpen(rpc);
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
    return this.#watched(method, options, (watched) =>
      this.#repeated(method, watched, (attempt) => {
        const { call, answer } = this.#answer<ClientUnaryCall, Response>(method, attempt, (metadata, settle) =>
          attempt.route.channel.makeUnaryRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            metadata,
            grpcOptions(attempt.options),
            settle,
          ),
        );
        if (options.onMetadata !== undefined) call.once('metadata', options.onMetadata);
        return answer;
      }),
    );
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
    const rpc = rpcName(method);
    const { action }: ActionCallOptions = options;
    if (!isUploadSource(source))
      throw clientError(rpc, 'BAD_ARGUMENT', 'the source has to be bytes, or anything that yields them', { action });
    const repeatable = new RepeatableSource(source, { rpc, action }, this.#connections.mayRepeat);
    try {
      return await this.#watched(method, options, (watched) =>
        this.#repeated(
          method,
          watched,
          (attempt) => this.#send(method, given, repeatable.pieces(), attempt),
          () => repeatable.repeatable,
        ),
      );
    } finally {
      repeatable.close();
    }
  }

  /** One attempt at an upload. */
  async #send<Arguments, Response>(
    method: FileInMethod<Arguments, Response>,
    given: Arguments,
    pieces: AsyncIterable<Buffer>,
    attempt: Attempt,
  ): Promise<Response> {
    const { stream, answer } = this.#openUpload(method, attempt);
    let ended = false;
    let resume = (): void => undefined;
    const end = (): void => {
      ended = true;
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
      for await (const value of pieces) {
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

  /** A client-streaming call whose messages the caller writes; it is not repeated. */
  openUpload<Request, Response>(
    method: ClientStreamMethod<Request, Response>,
    options: CallOptions = {},
  ): OpenUpload<Request, Response> {
    this.#check(method, options);
    return this.#openUpload(method, this.#attempt(options));
  }

  #openUpload<Request, Response>(
    method: ClientStreamMethod<Request, Response>,
    attempt: Attempt,
  ): OpenUpload<Request, Response> {
    const { call: stream, answer } = this.#answer<ClientWritableStream<Request>, Response>(
      method,
      attempt,
      (metadata, settle) =>
        attempt.route.channel.makeClientStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          metadata,
          grpcOptions(attempt.options),
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
    this.#check(method, options);
    const watched = await this.#watch(options);
    try {
      yield* this.#messages(method, request, watched.options);
    } finally {
      watched.done();
    }
  }

  async *#messages<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    options: ActionCallOptions,
  ): AsyncGenerator<Response> {
    const attempts = this.#attempts(options);
    let attempt = this.#attempt(options);
    for (let begun = false; ; ) {
      const call = this.#openStream(method, request, attempt);
      // Cancelling a call without listeners would end the process.
      call.on('error', () => undefined);
      try {
        for await (const message of call) {
          begun = true;
          yield message as Response;
        }
        return;
      } catch (thrown) {
        const error = this.#failure(method, attempt, thrown);
        if (begun) throw error;
        attempt = await this.#next(attempts, error, attempt);
      } finally {
        call.cancel();
      }
    }
  }

  /** The file that a FileOut RPC answers with. The call is made when its first bytes are requested. */
  download<Request>(method: FileOutMethod<Request>, request: Request, options: CallOptions = {}): Download {
    const controller = new AbortController();
    const chunks = async function* (calls: Calls): AsyncGenerator<Buffer> {
      const { signal } = options;
      const abort = (): void => controller.abort(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      if (signal?.aborted) abort();
      try {
        const own = { ...options, signal: controller.signal };
        for await (const { chunk } of calls.stream(method, request, own)) yield chunk;
      } finally {
        signal?.removeEventListener('abort', abort);
      }
    };
    this.#check(method, options);
    return new Download(chunks(this), () => controller.abort());
  }

  /** grpc-js's server-streaming call, with grpc-js's errors; it is not repeated. */
  openStream<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): ClientReadableStream<Response> {
    this.#check(method, options);
    return this.#openStream(method, request, this.#attempt(options));
  }

  /**
   * A server-streaming call that the server has accepted, with grpc-js's errors from then on.
   * @throws GuestfsRpcError
   */
  protected async acceptedStream<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<ClientReadableStream<Response>> {
    this.#check(method, options);
    return this.#repeated(method, options, async (attempt) => {
      const call = this.#openStream(method, request, attempt);
      await new Promise<void>((resolve, reject) => {
        call.once('metadata', () => resolve());
        call.once('error', (thrown) => reject(this.#failure(method, attempt, thrown)));
      });
      return call;
    });
  }

  #openStream<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    { route, metadata, options }: Attempt,
  ): ClientReadableStream<Response> {
    const call = route.channel.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      grpcOptions(options),
    );
    call.once('status', cancelOnAbort(call, [this.#signal, options.signal]));
    return call;
  }

  /** @throws GuestfsRpcError before anything is sent */
  #check(method: Path, options: ActionCallOptions): void {
    const rpc = rpcName(method);
    this.requireOpen(rpc, options.action);
    checkOptions(rpc, options);
    if (options.onProgress !== undefined && this.subscribeEvents === undefined)
      throw clientError(rpc, 'BAD_ARGUMENT', 'onProgress is for calls of a session');
  }

  /** With the request ID of all attempts. */
  #attempt(options: ActionCallOptions): Attempt {
    const named = { ...options, requestId: requestIdOf(this.#metadata, options) };
    return { route: this.#route, metadata: namedMetadata(this.#metadata, named), options: named };
  }

  #attempts(options: CallOptions): Attempts {
    return new Attempts(this.#connections, options, [this.#signal, options.signal]);
  }

  async #next(attempts: Attempts, error: unknown, { route: before, metadata, options }: Attempt): Promise<Attempt> {
    const route = await attempts.next(error, before);
    if (route === before) return { route, metadata, options };
    if (this.#direct === undefined) return { route, metadata, options };
    this.#route = route;
    this.#metadata = this.#direct;
    return { route, metadata: namedMetadata(this.#metadata, options), options };
  }

  /** Makes a call, and repeats it where nothing was done. */
  async #repeated<Response>(
    method: Path,
    options: ActionCallOptions,
    make: (attempt: Attempt) => Promise<Response>,
    repeatable = (): boolean => true,
  ): Promise<Response> {
    const attempts = this.#attempts(options);
    for (let attempt = this.#attempt(options); ; ) {
      this.#connections.requireOpen(rpcName(method));
      try {
        return await make(attempt);
      } catch (error) {
        if (!repeatable()) throw error;
        attempt = await this.#next(attempts, error, attempt);
      }
    }
  }

  async #watch(options: ActionCallOptions): Promise<Watched> {
    const subscribe = this.subscribeEvents;
    if (subscribe === undefined || options.onProgress === undefined) return { options, done: () => undefined };
    // Events name calls by it.
    return watchProgress(subscribe, { ...options, requestId: requestIdOf(this.#metadata, options) });
  }

  /** Makes a call whose progress is watched. */
  async #watched<Response>(
    method: Path,
    given: ActionCallOptions,
    make: (options: ActionCallOptions) => Promise<Response>,
  ): Promise<Response> {
    this.#check(method, given);
    const { options, done } = await this.#watch(given);
    try {
      return await make(options);
    } finally {
      done();
    }
  }

  #failure(method: Path, { route: { address }, options }: Attempt, thrown: unknown): unknown {
    const signal = abortedOf([options.signal, this.#signal]);
    const { requestId, action } = options;
    return asRpcError(rpcName(method), thrown, { signal, requestId, action, address });
  }

  /** Starts a call that has one answer. */
  #answer<Call extends { cancel(): void }, Response>(
    method: Path,
    attempt: Attempt,
    begin: (metadata: Metadata, settle: (error: unknown, response?: Response) => void) => Call,
  ): { readonly call: Call; readonly answer: Promise<Response> } {
    let settle: (error: unknown, response?: Response) => void = () => undefined;
    const answer = new Promise<Response>((resolve, reject) => {
      settle = (error, response) => {
        if (error === null) resolve(response as Response);
        else reject(this.#failure(method, attempt, error));
      };
    });
    const call = begin(attempt.metadata, (error, response) => {
      stop();
      settle(error, response);
    });
    const stop = cancelOnAbort(call, [this.#signal, attempt.options.signal]);
    return { call, answer };
  }
}

/**
 * Calls the service, in promises: every RPC that ts-proto generated, whatever it streams.
 * The session goes along as metadata, which is all that the API asks of a client.
 */
import { Client, credentials, Metadata, type ClientReadableStream } from '@grpc/grpc-js';
import { rpcName, type StreamMethod, type UnaryMethod, type UploadMethod } from './methods.js';
import { asRpcError, RpcError } from './rpcError.js';

const SESSION_HEADER = 'guestfs-session';
/** Some answers of daemons come near their own limit of 4 MiB, which is also gRPC's default. */
const ANSWER_LIMIT = 8 * 1024 * 1024;

export class GuestfsClient {
  readonly #client: Client;
  readonly #metadata = new Metadata();
  readonly #signal: AbortSignal | undefined;

  private constructor(client: Client, session: string | undefined, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#signal = signal;
    if (session !== undefined) this.#metadata.set(SESSION_HEADER, session);
  }

  /**
   * @param address host:port
   * @param signal aborting it cancels all calls
   */
  static connect(address: string, signal?: AbortSignal): GuestfsClient {
    const client = new Client(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': ANSWER_LIMIT,
    });
    return new GuestfsClient(client, undefined, signal);
  }

  /** The same connection, for the calls of one session. */
  inSession(id: string): GuestfsClient {
    return new GuestfsClient(this.#client, id, this.#signal);
  }

  close(): void {
    this.#client.close();
  }

  /** @throws RpcError */
  call<Request, Response>(method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata,
        (error, response) => {
          stop();
          this.#settle(method, error, response, resolve, reject);
        },
      );
      const stop = this.#cancelWith(call);
    });
  }

  /**
   * Sends messages no faster than they are taken.
   * @throws RpcError, also when the server ends the call before it has read everything
   */
  upload<Request, Response>(
    method: UploadMethod<Request, Response>,
    messages: Iterable<Request> | AsyncIterable<Request>,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      let over = false;
      let goOn: (() => void) | undefined;
      const call = this.#client.makeClientStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        this.#metadata,
        (error, response) => {
          over = true;
          goOn?.();
          stop();
          this.#settle(method, error, response, resolve, reject);
        },
      );
      const stop = this.#cancelWith(call);
      const send = async (): Promise<void> => {
        for await (const message of messages) {
          if (over) return;
          if (call.write(message)) continue;
          await new Promise<void>((resume) => {
            goOn = resume;
            call.once('drain', resume);
          });
        }
        call.end();
      };
      // A source that fails must not leave the server waiting for the rest.
      send().catch((error: unknown) => {
        reject(error);
        call.cancel();
      });
    });
  }

  /** The messages of a server stream, no faster than they are asked for. */
  async *stream<Request, Response>(
    method: StreamMethod<Request, Response>,
    request: Request,
  ): AsyncGenerator<Response> {
    const call = this.open(method, request);
    const stop = this.#cancelWith(call);
    try {
      for await (const message of call) yield message as Response;
    } catch (error) {
      throw asRpcError(rpcName(method), error);
    } finally {
      stop();
      call.cancel();
    }
  }

  /** As {@link stream}, for callers that want the call itself. */
  open<Request, Response>(method: StreamMethod<Request, Response>, request: Request): ClientReadableStream<Response> {
    return this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      this.#metadata,
    );
  }

  #cancelWith(call: { cancel(): void }): () => void {
    const signal = this.#signal;
    if (signal === undefined) return () => undefined;
    const cancel = (): void => call.cancel();
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    return () => signal.removeEventListener('abort', cancel);
  }

  #settle<Response>(
    method: { readonly path: string },
    error: ConstructorParameters<typeof RpcError>[1] | null,
    response: Response | undefined,
    resolve: (response: Response) => void,
    reject: (reason: unknown) => void,
  ): void {
    if (error !== null) reject(new RpcError(rpcName(method), error));
    else resolve(response as Response);
  }
}

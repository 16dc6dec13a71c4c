/** The connection to a server. */
import { Client, credentials, Metadata, type ChannelCredentials, type ClientOptions } from '@grpc/grpc-js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { Calls } from './calls.js';
import { Guest } from './guest.js';
import type { CallOptions } from './options.js';
import { createSessionRequest, Session, SESSION_HEADER, type SessionOptions } from './session.js';

/** Some answers of daemons are close to their own limit of 4 MiB, which is also gRPC's default. */
const ANSWER_LIMIT = 8 * 1024 * 1024;

/** How to connect. */
export interface ConnectOptions {
  /** TLS, from grpc-js's `credentials.createSsl`; by default, the connection is not encrypted. */
  readonly credentials?: ChannelCredentials;
  /** Options of grpc-js for the connection. */
  readonly channel?: ClientOptions;
  /** Aborting it cancels all calls, but not {@link Session.end}. */
  readonly signal?: AbortSignal;
}

/** A client of one server. Its own calls are those without a session, such as those of `SessionService`. */
export class GuestfsClient extends Calls {
  readonly #channel: Client;
  readonly #signal: AbortSignal | undefined;

  /** Use {@link connect}. */
  constructor(channel: Client, signal?: AbortSignal) {
    super(channel, new Metadata(), signal);
    this.#channel = channel;
    this.#signal = signal;
  }

  /**
   * Creates a session, and launches it if `launch` is set.
   * @throws GuestfsRpcError
   */
  async session(options: SessionOptions = {}, callOptions?: CallOptions): Promise<Session> {
    let header: string | undefined;
    const { id } = await this.call(SessionServiceService.createSession, createSessionRequest(options), {
      ...callOptions,
      onMetadata: (metadata) => {
        header = metadata.get(SESSION_HEADER)[0]?.toString();
        callOptions?.onMetadata?.(metadata);
      },
    });
    return new Session(this.#channel, id, this.#signal, header);
  }

  /**
   * Creates a session as {@link session} does, with a method for each action.
   * @throws GuestfsRpcError
   */
  async guest(options?: SessionOptions, callOptions?: CallOptions): Promise<Guest> {
    return new Guest(await this.session(options, callOptions));
  }

  /** An existing session. */
  attach(id: string): Session {
    return new Session(this.#channel, id, this.#signal);
  }

  /** Closes the connection. Sessions stay until they are ended, or idle for too long. */
  close(): void {
    this.#channel.close();
  }

  /** {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * A client for a server. It connects with the first call.
 * @param address `host:port`
 */
export function connect(
  address: string,
  { credentials: given = credentials.createInsecure(), channel, signal }: ConnectOptions = {},
): GuestfsClient {
  return new GuestfsClient(
    new Client(address, given, { 'grpc.max_receive_message_length': ANSWER_LIMIT, ...channel }),
    signal,
  );
}

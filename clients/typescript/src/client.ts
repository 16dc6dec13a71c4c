/** A client of one server. */
import { Metadata } from '@grpc/grpc-js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { Calls } from './calls.js';
import { Connections, type ConnectOptions } from './connections.js';
import { clientError } from './error.js';
import { Guest } from './guest.js';
import type { CallOptions } from './options.js';
import { Session, SESSION_HEADER } from './session.js';
import { createSessionRequest, type SessionOptions } from './sessionOptions.js';

/** IDs of sessions are sent in metadata, which takes visible ASCII. */
const SESSION_ID = /^[!-~]+$/;

/** A client of one server. Its own calls are those without a session, such as those of `SessionService`. */
export class GuestfsClient extends Calls {
  readonly #connections: Connections;
  readonly #signal: AbortSignal | undefined;

  /** Use {@link connect}. */
  constructor(connections: Connections, signal?: AbortSignal) {
    super(connections, new Metadata(), signal);
    this.#connections = connections;
    this.#signal = signal;
  }

  /**
   * Creates a session, and launches it if `launch` is set. It has a method for each action, and ends with its scope if it
   * is declared with `await using`.
   * @throws GuestfsRpcError
   */
  async session(options: SessionOptions = {}, callOptions?: CallOptions): Promise<Guest> {
    let header: string | undefined;
    const { id } = await this.call(SessionServiceService.createSession, createSessionRequest(options), {
      ...callOptions,
      onMetadata: (metadata) => {
        header = metadata.get(SESSION_HEADER)[0]?.toString();
        callOptions?.onMetadata?.(metadata);
      },
    });
    return new Guest(new Session(this.#connections, id, this.#signal, header));
  }

  /**
   * An existing session.
   * @throws GuestfsRpcError BAD_ARGUMENT if that cannot be the ID of a session
   */
  attach(id: string): Guest {
    if (typeof id !== 'string' || !SESSION_ID.test(id))
      throw clientError('attach', 'BAD_ARGUMENT', 'the ID of a session is not empty, and consists of visible ASCII');
    return new Guest(new Session(this.#connections, id, this.#signal));
  }

  /**
   * Closes the connections; further calls fail with CLIENT_CLOSED. Sessions stay until they are ended, or idle for too long.
   */
  close(): void {
    this.#connections.close();
  }

  /** {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * A client for a server. It connects with the first call; the connection does not keep the process running.
 * @param address `host:port`, `unix:/path`, or another of gRPC's names
 * @throws GuestfsRpcError BAD_ARGUMENT
 */
export function connect(address: string, options: ConnectOptions = {}): GuestfsClient {
  return new GuestfsClient(Connections.to(address, options), options.signal);
}

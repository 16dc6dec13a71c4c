/** Which user each connection to a Unix socket is of. A connection is not served until that is known. */
import type { Http2Server, Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from '../common/logger.js';
import { PeerCredentials } from './peerCredentials.js';

export class PeerUsers {
  readonly #logger: Logger;
  readonly #users = new WeakMap<Http2Session, number>();
  readonly #credentials = new PeerCredentials();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The user ID of the client at the other end of a connection; undefined if it is not known. */
  of(connection: Http2Session | undefined): number | undefined {
    return connection && this.#users.get(connection);
  }

  /** Makes each new connection of a server wait until its user is known. Call before anything else listens to it. */
  watch(server: Http2Server): void {
    const serve = server.listeners('connection') as ((this: Http2Server, socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => void this.#admit(server, serve, socket));
  }

  async #admit(
    server: Http2Server,
    serve: readonly ((this: Http2Server, socket: Socket) => void)[],
    socket: Socket,
  ): Promise<void> {
    const ignore = (): void => undefined;
    // Until the HTTP/2 session takes over.
    socket.on('error', ignore);
    try {
      const user = await this.#credentials.userOf(socket);
      const note = (session: Http2Session): void => void this.#users.set(session, user);
      server.prependOnceListener('session', note);
      // Creates the session before it returns.
      for (const listener of serve) listener.call(server, socket);
      server.off('session', note);
    } catch (err) {
      if (!socket.destroyed) this.#logger.warn('connection closed: its user cannot be determined', { err });
      socket.destroy();
      return;
    }
    socket.off('error', ignore);
  }
}

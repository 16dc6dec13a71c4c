/**
 * Finds the user at the other end of a connection to a Unix socket, as the kernel recorded it when the client connected
 * (SO_PEERCRED, unix(7)).
 *
 * Node.js has no call for this, so a short-lived Python process inherits the connection and asks the kernel. The
 * connection is not served until the answer has arrived.
 */
import type { Http2Server, Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from '../common/logger.js';
import { ISOLATED_PYTHON } from '../common/python.js';
import { Semaphore } from '../common/semaphore.js';
import { descriptorOf, runTool } from '../common/subprocess.js';
import { abortController } from '../common/waiting.js';

const [PYTHON = '', ...ISOLATED] = ISOLATED_PYTHON;
/** Prints the user from `struct ucred`, which has process, user and group; the connection is descriptor 3. */
const PROGRAM =
  'import socket, struct; print(struct.unpack("iII", socket.socket(fileno=3).getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])';
const LIMIT_MS = 10_000;
const ANSWER_LIMIT = 1024;
/** Each takes about 20 ms of processor time. */
const lookups = new Semaphore(4);

/** Asks the kernel. @throws Error if the connection is closed, or the process fails */
async function peerUser(socket: Socket): Promise<number> {
  const controller = abortController();
  const abort = (): void => controller.abort(new Error('the client has disconnected'));
  socket.once('close', abort);
  try {
    const { signal } = controller;
    const { exitCode, stdout, stderr } = await lookups.run(
      () =>
        runTool(PYTHON, [...ISOLATED, '-c', PROGRAM], {
          fds: [descriptorOf(socket)],
          timeoutMs: LIMIT_MS,
          maxOutputBytes: ANSWER_LIMIT,
          signal,
        }),
      signal,
    );
    // If the descriptor was closed in the meantime, its number may already have belonged to another connection.
    if (socket.destroyed) throw new Error('the client has disconnected');
    if (exitCode !== 0 || !/^\d+\n$/.test(stdout)) throw new Error(`SO_PEERCRED: ${stderr.trim() || stdout}`);
    return Number(stdout);
  } finally {
    socket.off('close', abort);
  }
}

export class PeerUsers {
  readonly #logger: Logger;
  readonly #users = new WeakMap<Http2Session, number>();

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
      const user = await peerUser(socket);
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

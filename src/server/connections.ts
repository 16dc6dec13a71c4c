/**
 * Limits of connections: their number, and the time for the client's HTTP/2 preface, which grpc-js does not limit; and
 * how long they last and may be idle, since grpc-js closes connections while calls may be on their way. Also closes
 * connections that HTTP/2 has given up.
 *
 * When a client violates HTTP/2 in a way that affects the entire connection, such as with a metadata value of more
 * than 64 KiB, nghttp2 announces the end of the connection (GOAWAY), and from then on neither reads nor writes. Node
 * does not close it, and reports nothing: all calls on the connection would neither be answered nor fail, and a proxy
 * multiplexes the calls of many clients on one. The only visible sign is that a PING stays in the queue although
 * nothing else is being written.
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from '../common/logger.js';
import { TIMER_MAX_MS } from './durations.js';
import type { ServerLimits } from './limits.js';

/** How often connections that have received data are checked, milliseconds. */
const CHECK_MS = 500;
/** When a connection is checked after a PING, and the interval of checks while it seems stuck, milliseconds. */
const LOOK_MS = 20;
/**
 * A connection counts as stuck if it seems so in this many checks in a row. One that works sends its data in the next
 * turn of the event loop, but may have more by the next check.
 */
const STUCK_LOOKS = 5;

/**
 * Largest metadata of a call, bytes, as announced to clients; a call with more is reset. In gRPC's implementations the
 * limit is 16 KiB.
 */
export const METADATA_LIMIT = 32 * 1024;

/** A connection with its HTTP/2 session. */
interface Connection {
  readonly session: ServerHttp2Session;
  /** Whether the client has sent its preface. */
  greeted: boolean;
  /** Open streams. */
  calls: number;
  /** When the last of them was closed. */
  idleSince: number;
  /** Ends the connection if there are none for too long. */
  idleLimit: NodeJS.Timeout | undefined;
  /** Bytes that had been received when it was last known to work. */
  soundAt: number;
  /** Consecutive checks at which it had data to send, but had sent nothing. */
  stuckLooks: number;
  /** Bytes that had been sent at the last check. */
  sentAt: number;
}

/** The connections of a server. */
export interface Connections {
  /**
   * Asks the clients of all connections to make their next calls on another one (GOAWAY with NO_ERROR). The calls that
   * are open go on, and so does the server: a client that connects again is served.
   */
  retire(): void;
  /** Closes all connections, also those with open calls (GOAWAY with NO_ERROR). */
  cut(): void;
  /** Stops watching them. */
  unguard(): void;
}

/**
 * Watches the connections of a server.
 * @param replicas how many connections replicas may have on top of the limit
 */
export function guardConnections(
  servers: readonly Http2Server[],
  limits: ServerLimits,
  logger: Logger,
  replicas: () => number = () => 0,
): Connections {
  const guard = new ConnectionGuard(limits, logger, replicas);
  for (const server of servers) guard.watch(server);
  return { retire: () => guard.retire(), cut: () => guard.cut(), unguard: () => guard.stop() };
}

/**
 * Asks the client of a connection to make its next calls on another one (GOAWAY with NO_ERROR), and closes it once its
 * open calls have ended.
 *
 * The frame says which stream is the last that the server has accepted, so that the client can repeat later ones at
 * once, knowing that they have not been carried out. RFC 9113 (6.8) advises to name the highest ID of all first, and the
 * true one later; but Node.js accepts no stream after any GOAWAY (nghttp2 has `nghttp2_submit_shutdown_notice` for
 * that, which Node.js does not offer), and the client would wait for the answer to a call that nobody has seen.
 */
function retire(session: ServerHttp2Session): void {
  if (!session.destroyed && !session.closed) session.close();
}

/** Whether a client has sent its preface, and the time limit for it. */
interface Greeting {
  readonly timer: NodeJS.Timeout;
  greeted: boolean;
}

class ConnectionGuard {
  readonly #limits: ServerLimits;
  readonly #logger: Logger;
  readonly #replicas: () => number;
  readonly #servers = new Set<Http2Server>();
  /** Connections by socket, including those whose client has not sent its preface. */
  readonly #sockets = new Map<Socket, Greeting>();
  readonly #connections = new Set<Connection>();
  readonly #checks: NodeJS.Timeout;

  constructor(limits: ServerLimits, logger: Logger, replicas: () => number) {
    this.#limits = limits;
    this.#logger = logger;
    this.#replicas = replicas;
    this.#checks = setInterval(() => this.#check(), CHECK_MS);
    this.#checks.unref();
  }

  watch(server: Http2Server): void {
    server.updateSettings({ maxConcurrentStreams: this.#limits.callsPerConnection, maxHeaderListSize: METADATA_LIMIT });
    server.maxConnections = this.#most();
    this.#servers.add(server);
    server.on('drop', () => {
      this.#logger.warn('connection refused', { limit: 'max-connections', maximum: this.#most() });
      this.#makeRoom();
    });
    server.prependListener('connection', (socket: Socket) => this.#connected(socket));
    server.on('session', (session: ServerHttp2Session) => this.#began(session));
  }

  /** How many connections there may be now. */
  #most(): number {
    const { connections, connectionsOfReplicas = Infinity } = this.#limits;
    return connections + Math.min(this.#replicas(), connectionsOfReplicas);
  }

  retire(): void {
    for (const { session } of this.#connections) retire(session);
  }

  cut(): void {
    for (const { session } of this.#connections) session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
  }

  stop(): void {
    clearInterval(this.#checks);
    for (const { timer } of this.#sockets.values()) clearTimeout(timer);
  }

  #connected(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), this.#limits.handshakeMs);
    timer.unref();
    this.#sockets.set(socket, { timer, greeted: false });
    socket.once('close', () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
    if (this.#sockets.size >= this.#most()) this.#makeRoom();
  }

  /**
   * Makes room for the next connection: closes the oldest whose client has not sent its preface, which takes an honest
   * one a moment, or else the one that has been idle for longest, unless all have calls.
   */
  #makeRoom(): void {
    if (!this.#closeSilent()) this.#closeIdle();
  }

  #closeSilent(): boolean {
    for (const [socket, { greeted }] of this.#sockets) {
      if (greeted || socket.destroyed) continue;
      socket.destroy();
      return true;
    }
    for (const { session, greeted } of this.#connections) {
      if (greeted || session.destroyed) continue;
      session.destroy();
      return true;
    }
    return false;
  }

  #closeIdle(): void {
    let longest: Connection | undefined;
    for (const connection of this.#connections) {
      const idle = connection.calls === 0 && !connection.session.closed;
      if (idle && connection.idleSince < (longest?.idleSince ?? Infinity)) longest = connection;
    }
    longest?.session.close();
  }

  #began(session: ServerHttp2Session): void {
    const connection: Connection = {
      ...{ session, greeted: false, calls: 0, idleSince: Date.now(), idleLimit: undefined },
      ...{ soundAt: 0, stuckLooks: 0, sentAt: 0 },
    };
    this.#connections.add(connection);
    this.#isIdle(connection);
    const stopAgeing = this.#age(session);
    const silent = setTimeout(() => session.destroy(), this.#limits.handshakeMs);
    silent.unref();
    session.once('remoteSettings', () => {
      clearTimeout(silent);
      connection.greeted = true;
      this.#greeted(session);
    });
    session.on('stream', (stream) => {
      connection.calls += 1;
      clearTimeout(connection.idleLimit);
      stream.once('close', () => {
        connection.calls -= 1;
        this.#isIdle(connection);
      });
    });
    session.once('close', () => {
      clearTimeout(silent);
      clearTimeout(connection.idleLimit);
      stopAgeing();
      this.#connections.delete(connection);
    });
  }

  #isIdle(connection: Connection): void {
    const { connectionIdleMs } = this.#limits;
    connection.idleSince = Date.now();
    if (connectionIdleMs === undefined || connection.calls > 0 || connection.session.closed) return;
    connection.idleLimit = setTimeout(() => retire(connection.session), connectionIdleMs).unref();
  }

  /** Ends a connection at its age. The result stops that. */
  #age(session: ServerHttp2Session): () => void {
    const { connectionAgeMs, connectionAgeGraceMs } = this.#limits;
    if (connectionAgeMs === undefined) return () => undefined;
    let timer = setTimeout(() => {
      retire(session);
      if (connectionAgeGraceMs === undefined) return;
      timer = setTimeout(() => session.destroy(undefined, constants.NGHTTP2_NO_ERROR), connectionAgeGraceMs).unref();
    }, varied(connectionAgeMs)).unref();
    return () => clearTimeout(timer);
  }

  /** The time limit of the socket below is no longer needed; with TLS, that one is not the session's. */
  #greeted({ socket: { remoteAddress, remotePort } }: ServerHttp2Session): void {
    for (const [socket, greeting] of this.#sockets) {
      if (socket.remotePort !== remotePort || socket.remoteAddress !== remoteAddress) continue;
      clearTimeout(greeting.timer);
      greeting.greeted = true;
    }
  }

  #check(): void {
    for (const server of this.#servers) server.maxConnections = this.#most();
    for (const connection of this.#connections) {
      const { session } = connection;
      if (session.destroyed || session.closed || bytesRead(session) === connection.soundAt) continue;
      // Refused while ten others are in flight: then the connection is not known to be stuck.
      const asked = session.ping((error) => {
        if (error === null) connection.soundAt = bytesRead(session);
      });
      if (asked && connection.stuckLooks === 0) this.#lookLater(connection);
    }
  }

  #lookLater(connection: Connection): void {
    setTimeout(() => this.#look(connection), LOOK_MS).unref();
  }

  #look(connection: Connection): void {
    const { session } = connection;
    if (session.destroyed) return;
    const sent = bytesSent(session);
    const stuck = (session.state.outboundQueueSize ?? 0) > 0 && !isWriting(session) && sent === connection.sentAt;
    connection.sentAt = sent;
    connection.stuckLooks = stuck ? connection.stuckLooks + 1 : 0;
    if (connection.stuckLooks === STUCK_LOOKS) {
      this.#logger.warn('connection closed: its client violated HTTP/2', { calls: connection.calls });
      session.destroy(undefined, constants.NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    if (stuck) this.#lookLater(connection);
  }
}

/** Give or take a tenth: clients that connected at the same time are not to connect again at the same time. */
function varied(ms: number): number {
  return Math.min(ms * (0.9 + Math.random() / 5), TIMER_MAX_MS);
}

function bytesSent({ socket }: ServerHttp2Session): number {
  return socket?.bytesWritten ?? 0;
}

function bytesRead({ socket }: ServerHttp2Session): number {
  return socket?.bytesRead ?? 0;
}

/** Whether the kernel has not yet accepted everything that was written. */
function isWriting({ socket }: ServerHttp2Session): boolean {
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly writeQueueSize?: number } | null };
  return (handle?.writeQueueSize ?? 0) > 0;
}

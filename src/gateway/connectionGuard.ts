/**
 * Limits of the gateway's connections, over HTTP/1.1: their number, one request at a time in each, and the time that a
 * client may take to send or to read what it has begun with. Node.js has limits for the headers of a request; those for
 * the rest are here.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface ConnectionLimits {
  /** Connections at a time. */
  readonly connections: number;
  /** How long a request or an answer may go without progress that its client owes, milliseconds. */
  readonly stallMs: number;
}

/** How often progress is looked for, milliseconds. */
const CHECK_MS = 1000;
/** How long a client may go on to send a request that has been answered, milliseconds. */
const UNREAD_MS = 1000;

interface Connection {
  readonly socket: Socket;
  /** Whether a request is being answered. */
  isBusy: boolean;
}

/** A request that is being answered. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  /** Bytes in both directions at the last check. */
  bytes: number;
  /** When there was progress, or none was owed. */
  since: number;
}

/** What a connection has in common with the TLS connection in it. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ''} ${remotePort ?? ''}`;
}

export class ConnectionGuard {
  /** By name, the oldest first. */
  readonly #connections = new Map<string, Connection>();
  readonly #exchanges = new Set<Exchange>();
  readonly #checks: NodeJS.Timeout;

  constructor(
    server: Server,
    private readonly limits: ConnectionLimits,
  ) {
    // With TLS, this is before the handshake.
    server.on('connection', (socket: Socket) => this.#connected(socket));
    this.#checks = setInterval(() => this.#check(), Math.min(CHECK_MS, limits.stallMs));
    this.#checks.unref();
  }

  /**
   * Watches the answer to a request. A client that sends the next one before it has the answer is disconnected: Node.js
   * would not tell the answers that wait for others of the end of their connection.
   * @returns false if the connection was closed
   */
  watch(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    const connection = this.#connections.get(nameOf(socket));
    if (connection === undefined || connection.isBusy) {
      socket.destroy();
      return false;
    }
    connection.isBusy = true;
    const exchange = { request, response, socket, bytes: 0, since: performance.now() };
    this.#exchanges.add(exchange);
    const over = (): void => {
      connection.isBusy = false;
      this.#exchanges.delete(exchange);
    };
    response.once('close', over);
    response.once('finish', () => {
      over();
      if (request.complete) return;
      // Node.js reads and drops the rest, however long that is.
      setTimeout(() => {
        if (!request.complete) socket.destroy();
      }, UNREAD_MS).unref();
    });
    return true;
  }

  /** How many there are. */
  get size(): number {
    return this.#connections.size;
  }

  /** Closes the connections that are not answering a request. */
  closeIdle(): void {
    for (const { socket, isBusy } of this.#connections.values()) if (!isBusy) socket.destroy();
  }

  /** Closes all connections, and stops watching. */
  close(): void {
    clearInterval(this.#checks);
    for (const { socket } of this.#connections.values()) socket.destroy();
  }

  #connected(socket: Socket): void {
    const name = nameOf(socket);
    const connection = { socket, isBusy: false };
    this.#connections.set(name, connection);
    socket.once('close', () => {
      if (this.#connections.get(name) === connection) this.#connections.delete(name);
    });
    if (this.#connections.size > this.limits.connections) this.#makeRoom(name);
  }

  /** Closes the oldest connection without a request or, if all have one, the new one. */
  #makeRoom(newest: string): void {
    let victim = newest;
    for (const [name, { isBusy }] of this.#connections) {
      if (isBusy || name === newest) continue;
      victim = name;
      break;
    }
    this.#connections.get(victim)?.socket.destroy();
    // Before its 'close', which comes later.
    this.#connections.delete(victim);
  }

  #check(): void {
    const now = performance.now();
    for (const exchange of this.#exchanges) {
      const { request, response, socket } = exchange;
      const bytes = socket.bytesRead + socket.bytesWritten;
      // While the gateway does not read, what the client owes has arrived.
      const owesRequest = !request.complete && request.readableLength === 0;
      const owesReading = response.writableLength > 0 || socket.writableLength > 0;
      if (bytes !== exchange.bytes || (!owesRequest && !owesReading)) {
        exchange.bytes = bytes;
        exchange.since = now;
      } else if (now - exchange.since > this.limits.stallMs) {
        socket.destroy();
      }
    }
  }
}

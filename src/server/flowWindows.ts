/**
 * Flow-control windows of HTTP/2, for requests. A client may send as much of a request as the window holds before the
 * server has read it, so the window divided by the round-trip time is the speed of an upload: 1.9 MiB/s for the default
 * of 64 KiB at 30 ms.
 *
 * A larger window is memory that clients can fill: Node.js buffers what arrives for a stream that nobody reads. So it is
 * given only to connections on which an admitted call is reading a large request, and it is shared: evenly among the
 * clients of those connections, and the more streams a client has on them, the smaller its windows are.
 */
import type { Http2Session, ServerHttp2Stream } from 'node:http2';
import type { GuestfsError } from '../common/errors.js';
import { limitExceeded } from '../common/limitExceeded.js';

/** HTTP/2's default, and the window of a stream on all other connections, bytes. */
export const NARROW = 65_535;
/** Largest window of a stream, bytes: 80 MiB/s at a round-trip time of 50 ms. */
export const WIDE = 4 << 20;
/**
 * Largest window of a wide connection as a whole, bytes. Node.js opens it again as soon as data arrives, read or not,
 * so it limits what arrives at once. The more streams there are, the more work that is: they share this number.
 */
const CONNECTION = 8 << 20;
const CONNECTION_OF_ALL = 16 << 20;
/** What the windows of all streams of one connection may hold together, bytes. */
const PER_CONNECTION = 64 << 20;
/** ... and those of all wide connections. */
const IN_TOTAL = 512 << 20;
/** A connection is wide until it has had no large request for this time, milliseconds. */
const KEPT_MS = 2000;
/** How often to look whether a client has sent more than it was allowed, milliseconds. */
const LOOK_MS = 50;
const RETRY_AFTER_MS = 1000;

/** A stream and the function that refuses its call. */
interface Watched {
  readonly stream: ServerHttp2Stream;
  readonly refuse: (error: GuestfsError) => void;
}

/** One connection, and its open streams. */
class Connection {
  readonly streams = new Map<ServerHttp2Stream, Watched>();
  /** Those with a large request. */
  readonly large = new Set<ServerHttp2Stream>();
  /** The window that its client was told. */
  window = NARROW;
  /** Its window as a whole. */
  whole = NARROW;
  narrowing: NodeJS.Timeout | undefined;
  /** Whose large request it had last. */
  client = '';

  constructor(readonly session: Http2Session) {}

  /** Changes its window as a whole. */
  open(bytes: number): void {
    const { session } = this;
    if (bytes === this.whole || session.destroyed || session.closed) return;
    this.whole = bytes;
    session.setLocalWindowSize(bytes);
  }

  /** Tells the client of another window, unless it has not confirmed the last one yet. */
  tell(window: number): void {
    const { session } = this;
    if (window === this.window || session.destroyed || session.closed || session.pendingSettingsAck) return;
    this.window = window;
    session.settings({ initialWindowSize: window });
  }
}

/** A property, since an entry of a WeakMap for every connection makes each garbage collection slower. */
const CONNECTION_OF = Symbol('connection');

type Known = Http2Session & { [CONNECTION_OF]?: Connection };

export class FlowWindows {
  readonly #wide = new Set<Connection>();
  #looking: NodeJS.Timeout | undefined;

  /** @param refuse refuses the call of a client that has sent more than it was allowed */
  opened(stream: ServerHttp2Stream, refuse: (error: GuestfsError) => void): void {
    const session: Known | undefined = stream.session;
    if (session === undefined) return;
    const connection = (session[CONNECTION_OF] ??= this.#connect(session));
    connection.streams.set(stream, { stream, refuse });
    if (this.#wide.has(connection)) this.#adjust();
  }

  /** The call of this stream was admitted, and is reading a large request. @param client whose call it is */
  isLarge(stream: ServerHttp2Stream, client: string): void {
    const { session }: { readonly session?: Known | undefined } = stream;
    const connection = session?.[CONNECTION_OF];
    if (connection === undefined || stream.destroyed) return;
    connection.large.add(stream);
    connection.client = client;
    clearTimeout(connection.narrowing);
    connection.narrowing = undefined;
    if (this.#wide.has(connection)) return;
    this.#wide.add(connection);
    this.#looking ??= setInterval(() => this.#look(), LOOK_MS).unref();
    this.#adjust();
  }

  closed(stream: ServerHttp2Stream, session: Known | undefined): void {
    const connection = session?.[CONNECTION_OF];
    if (connection === undefined) return;
    connection.streams.delete(stream);
    if (!connection.large.delete(stream) || connection.large.size > 0) return;
    connection.narrowing = setTimeout(() => this.#narrow(connection), KEPT_MS).unref();
  }

  #connect(session: Http2Session): Connection {
    const connection = new Connection(session);
    session.once('close', () => {
      clearTimeout(connection.narrowing);
      this.#remove(connection);
    });
    session.on('localSettings', () => {
      if (this.#wide.has(connection)) this.#adjust();
      else connection.tell(NARROW);
    });
    return connection;
  }

  #narrow(connection: Connection): void {
    this.#remove(connection);
    connection.open(NARROW);
    connection.tell(NARROW);
  }

  #remove(connection: Connection): void {
    if (!this.#wide.delete(connection)) return;
    if (this.#wide.size === 0) {
      clearInterval(this.#looking);
      this.#looking = undefined;
    }
    this.#adjust();
  }

  #adjust(): void {
    const ofClient = new Map<string, number>();
    for (const { client, streams } of this.#wide) ofClient.set(client, (ofClient.get(client) ?? 0) + streams.size);
    const share = IN_TOTAL / ofClient.size;
    for (const connection of this.#wide) {
      const streams = Math.max(1, connection.streams.size);
      const all = Math.max(1, ofClient.get(connection.client) ?? 1);
      connection.open(windowWithin(CONNECTION_OF_ALL / streams, CONNECTION));
      connection.tell(windowWithin(Math.min(PER_CONNECTION / streams, share / all), WIDE));
    }
  }

  /**
   * A client may have sent into many streams before it learns that their windows are smaller. That much is tolerated,
   * but not several times as much.
   */
  #look(): void {
    for (const { streams } of this.#wide) {
      let unread = 0;
      for (const { stream } of streams.values()) unread += stream.readableLength;
      if (unread <= 2 * PER_CONNECTION) continue;
      const largestFirst = [...streams.values()].sort((a, b) => b.stream.readableLength - a.stream.readableLength);
      for (const { stream, refuse } of largestFirst) {
        if (unread <= PER_CONNECTION) break;
        unread -= stream.readableLength;
        refuse(tooMuchUnread());
      }
    }
  }
}

/** A power of two, so that not every new stream changes it. */
function windowWithin(bytes: number, most: number): number {
  if (bytes >= most) return most;
  return Math.max(NARROW, 2 ** Math.floor(Math.log2(bytes)));
}

function tooMuchUnread(): GuestfsError {
  return limitExceeded('the client sent too much on this connection that its calls had not read yet; try again later', {
    limit: 'unread-bytes-per-connection',
    maximum: 2 * PER_CONNECTION,
    retryAfterMs: RETRY_AFTER_MS,
  });
}

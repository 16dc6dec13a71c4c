/**
 * Starts calls a few at a time, so that other work can run in between. HTTP/2 delivers all calls of one read from a
 * connection at once, which can be two thousand. To start and answer one takes up to 0.2 ms, and all other clients
 * would have to wait for the last of them. A waiting call costs nothing if its client has cancelled it by its turn.
 */
import type { Http2Server, ServerHttp2Stream } from 'node:http2';

/**
 * How many calls start in one turn of the event loop. This takes about 2 ms, or twice that if all of them fail; their
 * garbage, which is collected in the same turn, takes up to three times as long.
 */
const AT_ONCE = 8;

type BeginCall = (stream: ServerHttp2Stream, ...rest: readonly unknown[]) => void;

/** Paces the calls of these servers, all together; affects the listeners that the servers have now. */
export function paceCalls(servers: readonly Http2Server[]): void {
  const pace = new Pace();
  for (const server of servers) {
    const listeners = server.listeners('stream') as BeginCall[];
    server.removeAllListeners('stream');
    server.on('stream', (stream, ...rest) => {
      const begin = (): void => {
        for (const listener of listeners) listener.call(server, stream, ...rest);
      };
      if (pace.mayBegin()) {
        begin();
        return;
      }
      // Without a listener, a stream that its client has reset would end the server.
      stream.on('error', ignore);
      pace.wait(stream.session, () => {
        if (!stream.destroyed && !stream.aborted) begin();
      });
    });
  }
}

const ignore = (): void => undefined;

/** Connections with waiting calls take turns, however many calls one of them has. */
class Pace {
  /** Waiting calls, by connection; the next one is the first call of the first connection. */
  readonly #waiting = new Map<unknown, (() => void)[]>();
  /** Calls started in this turn of the event loop. */
  #begun = 0;
  #scheduled = false;

  /** Whether a call may start now: few have started in this turn of the event loop, and none waits. */
  mayBegin(): boolean {
    this.#schedule();
    if (this.#begun >= AT_ONCE || this.#waiting.size > 0) return false;
    this.#begun += 1;
    return true;
  }

  /** Starts a call later. */
  wait(connection: unknown, begin: () => void): void {
    const others = this.#waiting.get(connection);
    if (others === undefined) this.#waiting.set(connection, [begin]);
    else others.push(begin);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#nextTurn());
  }

  #nextTurn(): void {
    this.#scheduled = false;
    this.#begun = 0;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#begun += 1;
      next();
    }
    if (this.#begun > 0) this.#schedule();
  }

  #next(): (() => void) | undefined {
    if (this.#begun >= AT_ONCE) return undefined;
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    const [connection, calls] = first;
    const next = calls.shift();
    this.#waiting.delete(connection);
    if (calls.length > 0) this.#waiting.set(connection, calls);
    return next;
  }
}

/**
 * Calls begin a few at a time, with room for everything else in between. HTTP/2 hands over all calls that came in one
 * read of a connection, and that can be two thousand, at once: to begin and to answer each takes the server up to 0.2 ms,
 * and all other clients would wait for the last. One that its client has given up in the meantime costs nothing any more.
 */
import type { Http2Server, ServerHttp2Stream } from 'node:http2';

/** How many calls begin in one turn of the event loop: about 3 ms. */
const AT_ONCE = 16;

type BeginCall = (stream: ServerHttp2Stream, ...rest: readonly unknown[]) => void;

/** Has the calls of some servers begin at that pace, by the listeners that they have now. */
export function paceCalls(servers: readonly Http2Server[]): void {
  const pace = new Pace();
  for (const server of servers) {
    const listeners = server.listeners('stream') as BeginCall[];
    server.removeAllListeners('stream');
    server.on('stream', (stream, ...rest) => {
      // Without a listener, one that its client has reset ends the server.
      stream.on('error', ignore);
      pace.run(() => {
        if (stream.destroyed || stream.aborted) return;
        for (const begin of listeners) begin.call(server, stream, ...rest);
      });
    });
  }
}

const ignore = (): void => undefined;

class Pace {
  #waiting: (() => void)[] = [];
  /** Begun in this turn of the loop. */
  #begun = 0;
  #scheduled = false;

  /** Runs `begin` now, if few did in this turn of the loop and none waits, or later. */
  run(begin: () => void): void {
    this.#schedule();
    if (this.#begun >= AT_ONCE || this.#waiting.length > 0) {
      this.#waiting.push(begin);
      return;
    }
    this.#begun += 1;
    begin();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#nextTurn());
  }

  #nextTurn(): void {
    this.#scheduled = false;
    const next = this.#waiting.slice(0, AT_ONCE);
    this.#waiting = this.#waiting.slice(AT_ONCE);
    this.#begun = next.length;
    if (next.length > 0) this.#schedule();
    for (const begin of next) begin();
  }
}

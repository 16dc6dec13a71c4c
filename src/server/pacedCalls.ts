/**
 * Starts calls a few at a time, so that other work can run in between. HTTP/2 delivers all calls of one read from a
 * connection at once, which can be two thousand. To start and answer one takes up to 0.2 ms, and all other clients
 * would have to wait for the last of them. A waiting call costs nothing if its client has cancelled it by its turn.
 */
import type { Http2Server, ServerHttp2Stream } from 'node:http2';

/** How many calls start in one turn of the event loop; this takes about 3 ms. */
const AT_ONCE = 16;

type BeginCall = (stream: ServerHttp2Stream, ...rest: readonly unknown[]) => void;

/** Paces the calls of these servers, all together; affects the listeners that the servers have now. */
export function paceCalls(servers: readonly Http2Server[]): void {
  const pace = new Pace();
  for (const server of servers) {
    const listeners = server.listeners('stream') as BeginCall[];
    server.removeAllListeners('stream');
    server.on('stream', (stream, ...rest) => {
      // Without a listener, a stream that its client has reset would end the server.
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
  /** Calls started in this turn of the loop. */
  #begun = 0;
  #scheduled = false;

  /** Runs `begin` now if only a few calls have started in this turn of the loop and none waits, otherwise later. */
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

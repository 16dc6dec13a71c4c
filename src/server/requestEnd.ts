/**
 * Determines whether a client has half-closed its request stream, or has aborted it.
 *
 * HTTP/2 ends a complete stream with END_STREAM, and an aborted one with RST_STREAM or the loss
 * of its connection. Node's `http2` reports both by 'end'. What it knows at that moment, according
 * to lib/internal/http2/core.js and to tests with Node 20, 22 and 24, with raw clients, grpc-js,
 * killed processes and cut connections (`requestFlow.test.ts`):
 *
 * - `closed` is reliable. `closeStream` sets it when it detects a reset or the loss of the
 *   connection, before it ends the readable side; END_STREAM does not set it.
 * - `aborted` is set at the same time, but only while the writable side is open.
 * - `rstCode` is not reliable: a reset with NO_ERROR leaves it 0.
 * - `state.remoteClose` and `state.state` are not reliable: at 'end' they still describe an open
 *   stream after END_STREAM, and a remotely closed one after some resets.
 * - `endAfterHeaders` concerns streams without a body only.
 *
 * One problem remains. `Http2Stream.close(code)`, and so `cancel()` of clients that use grpc-js,
 * sends an empty DATA frame with END_STREAM, followed by RST_STREAM in the next packet: such a
 * stream looks complete for a moment. Frames of a connection stay in order, so the server sends a
 * PING: what the client sent along with the END_STREAM arrives before the PING is acknowledged.
 * That is true for any relay of the connection, however slow.
 *
 * It is not true behind an HTTP/2 proxy that passes END_STREAM on before it has seen the reset:
 * the proxy acknowledges the PING. This cannot be distinguished from a client that sent everything
 * and cancelled afterwards. A client that has to be certain sends the size or a checksum.
 */
import type { Http2Session, ServerHttp2Stream } from 'node:http2';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Round trips on one connection; concurrent waiters share one. */
class RoundTrips {
  readonly #session: Http2Session;
  #current: Promise<void> | undefined;
  #following: Promise<void> | undefined;

  constructor(session: Http2Session) {
    this.#session = session;
  }

  /** Resolves when the peer has acknowledged a frame that was sent after this was called, or the connection has ended. */
  make(): Promise<void> {
    if (this.#current === undefined) {
      this.#current = this.#ask().finally(() => {
        this.#current = undefined;
      });
      return this.#current;
    }
    this.#following ??= this.#current.then(() => {
      this.#following = undefined;
      return this.make();
    });
    return this.#following;
  }

  async #ask(): Promise<void> {
    if (this.#session.destroyed) return;
    await new Promise<void>((resolve) => {
      // Node sends no PING on a connection that is closing. SETTINGS that change nothing are acknowledged, too.
      if (this.#session.closed) this.#session.settings({}, () => resolve());
      else this.#session.ping(() => resolve());
    });
  }
}

const roundTrips = new WeakMap<Http2Session, RoundTrips>();

function roundTrip(session: Http2Session): Promise<void> {
  let trips = roundTrips.get(session);
  if (trips === undefined) {
    trips = new RoundTrips(session);
    roundTrips.set(session, trips);
  }
  return trips.make();
}

/**
 * For a stream whose readable side has ended: whether the client has sent everything. Takes one
 * round trip to the client, or until the connection ends.
 */
export async function isWhole(stream: ServerHttp2Stream): Promise<boolean> {
  // 'end' is emitted while the frames that were read together are still being parsed.
  await nextTurn();
  if (stream.closed) return false;
  if (stream.session !== undefined) await roundTrip(stream.session);
  await nextTurn();
  return !stream.closed;
}

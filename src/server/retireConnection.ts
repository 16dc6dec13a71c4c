/** Ends connections without losing a call that is on its way. */
import { constants, type ServerHttp2Session } from 'node:http2';

/**
 * How long a client may take to notice, milliseconds: as long as gRPC's C++ servers wait. If a busy client were given
 * less, its connection could be closed before it has read why.
 */
const NOTICE_MS = 20_000;

/**
 * Asks the client of a connection to make its next calls on another one (GOAWAY with NO_ERROR), and closes it once its
 * open calls have ended and the client knows.
 *
 * The frame says which stream is the last that the server has accepted, so that the client can repeat later ones at
 * once, knowing that they have not been carried out. RFC 9113 (6.8) advises to name the highest ID of all first, and the
 * true one later; but Node.js accepts no stream after any GOAWAY (nghttp2 has `nghttp2_submit_shutdown_notice` for
 * that, which Node.js does not offer), and the client would wait for the answer to a call that nobody has seen.
 */
export function retireConnection(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed) return;
  session.goaway(constants.NGHTTP2_NO_ERROR);
  const close = (): void => {
    clearTimeout(late);
    if (!session.destroyed) session.close();
  };
  const late = setTimeout(close, NOTICE_MS);
  late.unref();
  session.ping(close);
}

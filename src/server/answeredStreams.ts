/**
 * Ends the streams of calls that are answered before their clients have ended the request.
 *
 * Node.js keeps such a stream for as long as the client likes, and with it a place among the client's calls and a
 * connection that is not idle. Half-open calls that were all refused long ago could so keep everybody else out.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';

/** How long a client has to end its request, and how often to look whether an answer has been sent, milliseconds. */
const LOOK_MS = 200;
/** `localClose` of a stream that has sent everything, and `remoteClose` of one whose client has. */
const ENDED = 1;

/**
 * Closes a stream soon after the answer has been sent, unless the client has ended its request by then. The answer ends
 * with the stream; a client may not send anything after that (RFC 9113, 8.1). To be called once the call is answered.
 *
 * What counts is what has arrived, not what has been read: a stream that both sides have ended is closed, and a reset for it
 * is an error to some proxies, such as nginx, which may use the connection for another call by then. Nor does it count what
 * is on its way when a call is refused by its headers alone.
 */
export function closeOnceAnswered(stream: ServerHttp2Stream): void {
  const hasEnded = (): boolean => stream.readableEnded || stream.state.remoteClose === ENDED;
  if (hasEnded()) return;
  const look = (): void => {
    if (stream.destroyed || stream.closed || hasEnded()) return;
    // Not before: a reset overtakes the end of an answer.
    if (stream.state.localClose === ENDED) stream.close(constants.NGHTTP2_NO_ERROR);
    else setTimeout(look, LOOK_MS).unref();
  };
  setTimeout(look, LOOK_MS).unref();
}

/**
 * Ends the streams of calls that are answered before their clients have ended the request.
 *
 * Node.js keeps such a stream for as long as the client likes, and with it a place among the client's calls and a
 * connection that is not idle. Half-open calls that were all refused long ago could so keep everybody else out.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';

/** How often to look whether an answer has been sent that its client is slow to take, milliseconds. */
const LOOK_MS = 200;
/** `localClose` of a stream that has sent everything. */
const SENT = 1;

/**
 * Closes a stream as soon as the answer has been sent, unless the client has ended its request by then. The answer ends
 * with the stream; a client may not send anything after that (RFC 9113, 8.1). To be called once the call is answered.
 */
export function closeOnceAnswered(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) return;
  const look = (): void => {
    if (stream.destroyed || stream.closed || stream.readableEnded) return;
    // Not before: a reset overtakes the end of an answer.
    if (stream.state.localClose === SENT) stream.close(constants.NGHTTP2_NO_ERROR);
    else setTimeout(look, LOOK_MS).unref();
  };
  setImmediate(look);
}

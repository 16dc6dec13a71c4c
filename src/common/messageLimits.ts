/** Size limits of messages, and the errors for exceeding them. */
import { insteadOfLargeAnswer, insteadOfLargeRequest } from '../actions/byName.js';
import { GuestfsError } from './errors.js';

/**
 * Largest request of most RPCs, and of all after decompression, bytes. It is above the daemon's own limit of 4 MiB, so
 * that a request over that one is refused with an explanation.
 */
export const REQUEST_LIMIT = 8 * 1024 * 1024;

function tooLarge(text: string, instead: string | undefined, metadata: Readonly<Record<string, string>>): GuestfsError {
  return new GuestfsError('MESSAGE_TOO_LARGE', instead === undefined ? text : `${text}; ${instead}`, { metadata });
}

/**
 * The error for an answer that does not fit into a message.
 * @param action name of the action or, for an RPC that is not an action, of the RPC
 * @param limit bytes
 */
export function answerTooLarge(action: string, limit: number): GuestfsError {
  return tooLarge(
    `${action}: the answer is larger than ${limit} bytes, which is what one message can hold`,
    insteadOfLargeAnswer(action),
    { limit: String(limit) },
  );
}

/**
 * The error for a request that does not fit into a message.
 * @param action as for {@link answerTooLarge}
 * @param taker the component with the limit
 * @param limit bytes
 * @param size bytes; undefined: unknown, but more than `limit`
 */
export function requestTooLarge(
  action: string,
  taker: 'daemon' | 'server' | 'decompression',
  limit: number,
  size: number | undefined,
): GuestfsError {
  const text = `${action}: the arguments make a message of ${size ?? `more than ${limit}`} bytes; the ${taker} accepts at most ${limit} bytes`;
  return tooLarge(text, insteadOfLargeRequest(action), {
    limit: String(limit),
    ...(size === undefined ? {} : { size: String(size) }),
  });
}

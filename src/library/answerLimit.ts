/** How much one answer may hold. */
import { GuestfsError } from '../common/errors.js';

/** gRPC clients take messages of 4 MiB unless told otherwise; a little of that is for what wraps the value. */
export const ANSWER_LIMIT = 4 * 1024 * 1024 - 4 * 1024;

/** An answer that a client could not receive. */
export function answerTooLarge(action: string, instead: string): GuestfsError {
  return new GuestfsError('MESSAGE_TOO_LARGE', `${action}: the answer is larger than ${ANSWER_LIMIT} bytes, which is what one message can hold; ${instead}`, {
    metadata: { limit: String(ANSWER_LIMIT) },
  });
}

/** Writes messages of one type. */
interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
}

/**
 * Passes an answer on if a client can receive it.
 * @throws GuestfsError MESSAGE_TOO_LARGE saying what to do instead
 */
export function limited<Message>(answer: Message, codec: Codec<Message>, action: string, instead: string): Message {
  if (codec.encode(answer).finish().length > ANSWER_LIMIT) throw answerTooLarge(action, instead);
  return answer;
}

/**
 * Answers are encoded here rather than in grpc-js, which gives no reason when encoding fails and does not check whether
 * a message is too large for its client.
 */
import { answerTooLarge } from '../common/messageLimits.js';
import { EncodedAnswer } from './decoding.js';

/** Largest answer in one message, bytes: the default limit of gRPC clients. */
export const ANSWER_MESSAGE_LIMIT = 4 * 1024 * 1024;

/** Encodes an answer for grpc-js. */
export type EncodeAnswer = (answer: object) => object;

/**
 * Encodes the answers of an RPC.
 * @param name libguestfs's name for the action or, if the RPC is not an action, that of the RPC
 * @returns a function that throws MESSAGE_TOO_LARGE, or what the serializer throws
 */
export function answerEncoder(name: string, serialize: (answer: object) => Buffer): EncodeAnswer {
  return (answer) => {
    if (answer instanceof EncodedAnswer) return answer;
    const bytes = serialize(answer);
    if (bytes.length > ANSWER_MESSAGE_LIMIT) throw answerTooLarge(name, ANSWER_MESSAGE_LIMIT);
    return new EncodedAnswer(bytes);
  };
}

/**
 * Answers become bytes here, and not in grpc-js, which says of one that it cannot encode only
 * that it cannot, and of one that its client cannot take nothing at all.
 */
import { answerTooLarge } from '../common/messageLimits.js';
import { EncodedAnswer } from './decoding.js';

/** Largest answer in one message, bytes: what gRPC clients take unless told otherwise. */
export const ANSWER_MESSAGE_LIMIT = 4 * 1024 * 1024;

/** Makes an answer what grpc-js is given. */
export type EncodeAnswer = (answer: object) => object;

/**
 * Encodes the answers of an RPC.
 * @param name libguestfs's name of the action or, of an RPC that is none, the RPC's
 * @returns a function that throws MESSAGE_TOO_LARGE, or what the serializer throws
 */
export function answerEncoder(name: string, serialize: (answer: object) => Buffer): EncodeAnswer {
  return (answer) => {
    const bytes = serialize(answer);
    if (bytes.length > ANSWER_MESSAGE_LIMIT) throw answerTooLarge(name, ANSWER_MESSAGE_LIMIT);
    return new EncodedAnswer(bytes);
  };
}

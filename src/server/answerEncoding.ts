/**
 * Answers become bytes here, and not in grpc-js, which says of one that it cannot encode only
 * that it cannot, and of one that its client cannot take nothing at all.
 */
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { isFileOut } from '../actions/shape.js';
import type { Logger } from '../common/logger.js';
import { answerTooLarge } from '../common/messageLimits.js';
import { EncodedAnswer } from './decoding.js';
import { rpcAt } from './rpcNames.js';
import { toStatus } from './statusMapping.js';

/** Largest answer in one message, bytes: what gRPC clients take unless told otherwise. */
export const ANSWER_MESSAGE_LIMIT = 4 * 1024 * 1024;

type NextCall = ConstructorParameters<typeof ServerInterceptingCall>[0];

/** A call whose answers are bytes when they go on, or else are its end. */
class Encoding extends ServerInterceptingCall {
  readonly #encode: (answer: unknown) => EncodedAnswer;
  readonly #statusOf: (error: unknown) => ReturnType<typeof toStatus>;

  constructor(
    next: NextCall,
    encode: (answer: unknown) => EncodedAnswer,
    statusOf: (error: unknown) => ReturnType<typeof toStatus>,
  ) {
    super(next);
    this.#encode = encode;
    this.#statusOf = statusOf;
  }

  override sendMessage(answer: unknown, sent: () => void): void {
    let bytes: EncodedAnswer;
    try {
      bytes = this.#encode(answer);
    } catch (error) {
      this.sendStatus(this.#statusOf(error));
      return;
    }
    super.sendMessage(bytes, sent);
  }
}

/** Encodes the answers of our services; what cannot be answered becomes a status with details. */
export function encodingAnswers(logger: Logger): ServerInterceptor {
  return (method, call) => {
    const rpc = rpcAt(method.path);
    // Files come in pieces that are never too large, and fast: one layer less for them to go through.
    if (rpc === undefined || (rpc.action !== undefined && isFileOut(rpc.action))) return call as ServerInterceptingCall;
    const { name } = rpc;
    const encode = (answer: unknown): EncodedAnswer => {
      const bytes = method.responseSerialize(answer);
      if (bytes.length > ANSWER_MESSAGE_LIMIT) throw answerTooLarge(name, ANSWER_MESSAGE_LIMIT);
      return new EncodedAnswer(bytes);
    };
    return new Encoding(call, encode, (error) => toStatus(error, { action: name }, logger));
  };
}

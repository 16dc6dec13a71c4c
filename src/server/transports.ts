/** The kinds of gRPC calls: how each receives its request and sends its answer. */
import {
  Metadata,
  type sendUnaryData,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
} from '@grpc/grpc-js';
import type { EncodeAnswer } from './answerEncoding.js';
import { answerWriter, type AnswerWriter } from './answerWriter.js';
import { Undecodable } from './decoding.js';
import { fileChunks, readArguments } from './fileIn.js';
import type { FileMessage } from './fileMessages.js';
import type { HeldMessage } from './requestFlow.js';
import type { AnswerStream } from './rpc.js';

/** Receives the request and sends the answer of one call. */
export interface Transport {
  /** The request, if it came with the call; undefined if it is the first message of a stream or cannot be decoded. */
  readonly given: object | undefined;
  /**
   * The complete request.
   * @throws GuestfsError BAD_ARGUMENT if it cannot be decoded
   */
  request(): Promise<object>;
  /** The file of a client stream. */
  readonly chunks: AsyncIterable<Buffer>;
  readonly answers: AnswerStream;
  /**
   * Ends the call with an answer; resolves when the preceding messages have been handed to the transport.
   * @throws GuestfsError MESSAGE_TOO_LARGE
   */
  succeed(answer: object): Promise<void>;
  fail(status: StatusObject): void;
}

const noChunks: AsyncIterable<Buffer> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
};

const noAnswers: AnswerStream = {
  opened: () => undefined,
  write: async () => {
    throw new Error('the RPC has a single answer, not a stream');
  },
  endWith: () => {
    throw new Error('the RPC has a single answer, not a stream');
  },
};

/** A call that arrived with its request. */
abstract class OneRequest {
  readonly given: object | undefined;
  readonly chunks = noChunks;
  readonly #request: object;

  constructor(request: object) {
    this.#request = request;
    this.given = request instanceof Undecodable ? undefined : request;
  }

  async request(): Promise<object> {
    if (this.#request instanceof Undecodable) throw this.#request.error;
    return this.#request;
  }
}

class UnaryTransport extends OneRequest implements Transport {
  readonly answers = noAnswers;
  readonly #callback: sendUnaryData<object>;
  readonly #encode: EncodeAnswer;

  constructor(request: object, callback: sendUnaryData<object>, encode: EncodeAnswer) {
    super(request);
    this.#callback = callback;
    this.#encode = encode;
  }

  async succeed(answer: object): Promise<void> {
    this.#callback(null, this.#encode(answer));
  }

  fail(status: StatusObject): void {
    this.#callback(status);
  }
}

export function unaryTransport(
  call: ServerUnaryCall<object, object>,
  callback: sendUnaryData<object>,
  encode: EncodeAnswer,
): Transport {
  return new UnaryTransport(call.request, callback, encode);
}

export function clientStreamTransport(
  call: ServerReadableStream<object, object>,
  callback: sendUnaryData<object>,
  encode: EncodeAnswer,
  signal: AbortSignal,
): Transport {
  const messages = (call as ServerReadableStream<HeldMessage<FileMessage | Undecodable>, object>)[
    Symbol.asyncIterator
  ]() as AsyncIterator<HeldMessage<FileMessage | Undecodable>>;
  return {
    given: undefined,
    request: () => readArguments(messages, signal),
    chunks: fileChunks(messages),
    answers: noAnswers,
    succeed: async (answer) => callback(null, encode(answer)),
    fail: (status) => callback(status),
  };
}

class ServerStreamTransport extends OneRequest implements Transport {
  readonly answers: AnswerStream;
  readonly #call: ServerWritableStream<object, object>;
  readonly #writer: AnswerWriter;
  #ending: Metadata | undefined;

  constructor(call: ServerWritableStream<object, object>, encode: EncodeAnswer, signal: AbortSignal) {
    super(call.request);
    const writer = answerWriter(call, signal);
    this.#call = call;
    this.#writer = writer;
    this.answers = {
      opened: () => call.sendMetadata(new Metadata()),
      write: async (message) => writer.write(encode(message)),
      endWith: (trailers) => {
        this.#ending = trailers;
      },
    };
  }

  async succeed(): Promise<void> {
    await this.#writer.flushed();
    this.#call.end(this.#ending);
  }

  fail(status: StatusObject): void {
    this.#call.emit('error', status);
  }
}

export function serverStreamTransport(
  call: ServerWritableStream<object, object>,
  encode: EncodeAnswer,
  signal: AbortSignal,
): Transport {
  return new ServerStreamTransport(call, encode, signal);
}

/** The kinds of gRPC calls: how each receives its request and sends its answer. */
import {
  Metadata,
  type sendUnaryData,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
} from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
import type { EncodeAnswer } from './answerEncoding.js';
import { answerWriter, type AnswerWriter } from './answerWriter.js';
import { EncodedAnswer, encodingOf, Undecodable } from './decoding.js';
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
  /**
   * The other ways to receive and send, for a call that another server answers: nothing is decoded.
   * @param encode encodes a message that was not kept as it came
   */
  passage(encode: (message: object) => Buffer): Passage;
}

/** Receives and sends the messages of one call without decoding them. */
export interface Passage {
  /** The messages of the request; the next one is not read from the network before it is asked for. */
  readonly requests: AsyncIterable<Buffer>;
  /** Sends initial metadata. */
  opened(metadata: Metadata): void;
  /** Sends a message; resolves when there is room for another one. */
  write(message: Buffer): Promise<void>;
  /**
   * Ends the call with OK.
   * @throws GuestfsError OUTCOME_UNKNOWN if there must be a message, and there was none
   */
  end(trailers: Metadata): Promise<void>;
}

const noChunks: AsyncIterable<Buffer> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
};

/** The response of a call that has one answer. */
class SingleAnswer implements AnswerStream {
  trailers: Metadata | undefined;

  constructor(private readonly call: Pick<ServerUnaryCall<object, object>, 'sendMetadata'>) {}

  opened(metadata?: Metadata): void {
    if (metadata !== undefined) this.call.sendMetadata(metadata);
  }

  async write(): Promise<void> {
    throw new Error('the RPC has a single answer, not a stream');
  }

  endWith(trailers: Metadata): void {
    this.trailers = trailers;
  }
}

/** The error for another replica that violates gRPC. */
function notOneAnswer(what: string): GuestfsError {
  return new GuestfsError('OUTCOME_UNKNOWN', `the replica that has the session sent ${what}, where there must be one`);
}

/** Passes on the response of a call that has one answer. */
function singlePassage(
  requests: AsyncIterable<Buffer>,
  call: Pick<ServerUnaryCall<object, object>, 'sendMetadata'>,
  callback: sendUnaryData<object>,
): Passage {
  let answer: Buffer | undefined;
  return {
    requests,
    opened: (metadata) => call.sendMetadata(metadata),
    write: async (message) => {
      if (answer !== undefined) throw notOneAnswer('more than one answer');
      answer = message;
    },
    end: async (trailers) => {
      if (answer === undefined) throw notOneAnswer('no answer');
      callback(null, new EncodedAnswer(answer), trailers);
    },
  };
}

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

  protected async *encoded(encode: (message: object) => Buffer): AsyncGenerator<Buffer> {
    yield encodingOf(this.#request) ?? encode(await this.request());
  }
}

class UnaryTransport extends OneRequest implements Transport {
  readonly answers: SingleAnswer;
  readonly #call: ServerUnaryCall<object, object>;
  readonly #callback: sendUnaryData<object>;
  readonly #encode: EncodeAnswer;

  constructor(call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>, encode: EncodeAnswer) {
    super(call.request);
    this.answers = new SingleAnswer(call);
    this.#call = call;
    this.#callback = callback;
    this.#encode = encode;
  }

  async succeed(answer: object): Promise<void> {
    this.#callback(null, this.#encode(answer), this.answers.trailers);
  }

  fail(status: StatusObject): void {
    this.#callback(status);
  }

  passage(encode: (message: object) => Buffer): Passage {
    return singlePassage(this.encoded(encode), this.#call, this.#callback);
  }
}

export function unaryTransport(
  call: ServerUnaryCall<object, object>,
  callback: sendUnaryData<object>,
  encode: EncodeAnswer,
): Transport {
  return new UnaryTransport(call, callback, encode);
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
    answers: new SingleAnswer(call),
    succeed: async (answer) => callback(null, encode(answer)),
    fail: (status) => callback(status),
    passage: (encodeMessage) => singlePassage(encodedMessages(messages, encodeMessage), call, callback),
  };
}

/** The messages as they came; each one is released when the next is asked for. */
async function* encodedMessages(
  messages: AsyncIterator<HeldMessage<FileMessage | Undecodable>>,
  encode: (message: object) => Buffer,
): AsyncGenerator<Buffer> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    const { message, release } = next.value;
    const known = encodingOf(message);
    if (known === undefined && message instanceof Undecodable) throw message.error;
    yield known ?? encode(message);
    release();
  }
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
      opened: (metadata) => call.sendMetadata(metadata ?? new Metadata()),
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

  passage(encode: (message: object) => Buffer): Passage {
    return {
      requests: this.encoded(encode),
      opened: (metadata) => this.#call.sendMetadata(metadata),
      write: (message) => this.#writer.write(new EncodedAnswer(message)),
      end: async (trailers) => {
        this.#ending = trailers;
        await this.succeed();
      },
    };
  }
}

export function serverStreamTransport(
  call: ServerWritableStream<object, object>,
  encode: EncodeAnswer,
  signal: AbortSignal,
): Transport {
  return new ServerStreamTransport(call, encode, signal);
}

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
import { answerWriter } from './answerWriter.js';
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
   * The whole request.
   * @throws GuestfsError BAD_ARGUMENT if it cannot be decoded
   */
  request(): Promise<object>;
  /** The file of a client stream. */
  readonly chunks: AsyncIterable<Buffer>;
  readonly answers: AnswerStream;
  /**
   * Ends the call with an answer; resolves when the messages before it are on their way.
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
    throw new Error('the RPC has one answer, and no stream');
  },
  endWith: () => {
    throw new Error('the RPC has one answer, and no stream');
  },
};

function decoded(request: object): object {
  if (request instanceof Undecodable) throw request.error;
  return request;
}

function whole(request: object): Pick<Transport, 'given' | 'request'> {
  return { given: request instanceof Undecodable ? undefined : request, request: async () => decoded(request) };
}

function oneAnswer(
  callback: sendUnaryData<object>,
  encode: EncodeAnswer,
): Pick<Transport, 'answers' | 'succeed' | 'fail'> {
  return {
    answers: noAnswers,
    succeed: async (answer) => callback(null, encode(answer)),
    fail: (status) => callback(status),
  };
}

export function unaryTransport(
  call: ServerUnaryCall<object, object>,
  callback: sendUnaryData<object>,
  encode: EncodeAnswer,
): Transport {
  return { ...whole(call.request), chunks: noChunks, ...oneAnswer(callback, encode) };
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
    ...oneAnswer(callback, encode),
  };
}

export function serverStreamTransport(
  call: ServerWritableStream<object, object>,
  encode: EncodeAnswer,
  signal: AbortSignal,
): Transport {
  const writer = answerWriter(call, signal);
  let ending: Metadata | undefined;
  return {
    ...whole(call.request),
    chunks: noChunks,
    answers: {
      opened: () => call.sendMetadata(new Metadata()),
      write: async (message) => writer.write(encode(message)),
      endWith: (trailers) => {
        ending = trailers;
      },
    },
    succeed: async () => {
      await writer.flushed();
      call.end(ending);
    },
    fail: (status) => void call.emit('error', status),
  };
}

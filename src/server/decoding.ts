/**
 * Decoding of requests. A request that cannot be decoded becomes an {@link Undecodable}, which
 * the handler answers with INVALID_ARGUMENT; grpc-js itself would answer INTERNAL.
 */
import { isUtf8 } from 'node:buffer';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { REQUEST_LIMIT } from '../common/messageLimits.js';
import { chunkMessage, encodeFilePieces, FilePieces, type FileMessage } from './fileMessages.js';

/** A request that could not be decoded. */
export class Undecodable {
  constructor(readonly error: GuestfsError) {}
}

/** An encoded response. */
export class EncodedAnswer {
  constructor(readonly bytes: Buffer) {}
}

/**
 * Rejects strings over the usual request limit, which matters in requests that may be larger because of file content;
 * and invalid UTF-8, which the runtime would replace silently.
 */
function decodeUtf8(bytes: Uint8Array): string {
  if (bytes.length > REQUEST_LIMIT)
    throw new Error(`a string of ${bytes.length} bytes, where at most ${REQUEST_LIMIT} are allowed`);
  if (!isUtf8(bytes)) throw new Error('a string is not valid UTF-8');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** Maximum number of fields in a request, including nested ones: these are decoded in a few milliseconds. */
export const FIELD_LIMIT = 50_000;
/** Minimum size of a field, bytes. */
const LEAST_FIELD = 2;
/** A field of variable length begins with two numbers: its tag and its length. */
const NUMBERS_PER_FIELD = 2;

/** A reader that fails if there are too many fields. Not used for every request, as counting has a cost. */
function countingReader(bytes: Buffer): BinaryReader {
  const reader = new BinaryReader(bytes, decodeUtf8);
  const read = reader.uint32.bind(reader);
  let left = FIELD_LIMIT * NUMBERS_PER_FIELD;
  reader.uint32 = () => {
    left -= 1;
    if (left < 0) throw new Error(`more than ${FIELD_LIMIT} fields, which is the limit for a request`);
    return read();
  };
  return reader;
}

/**
 * The input of ts-proto's decoders. Their declared type for gRPC is Buffer, but each passes it on to
 * `decode`, which takes a reader as well.
 */
function strictReader(bytes: Buffer): Buffer {
  const reader = bytes.length > FIELD_LIMIT * LEAST_FIELD ? countingReader(bytes) : new BinaryReader(bytes, decodeUtf8);
  return reader as unknown as Buffer;
}

/** A larger request is not kept: its content would be in memory twice. */
const KEPT_LIMIT = 64 * 1024;

const encodings = new WeakMap<object, Buffer>();

/** The bytes that a request, or a message of a stream, was decoded from, if they were kept. */
export function encodingOf(request: object): Buffer | undefined {
  return encodings.get(request);
}

/** Keeps the encodings of decoded requests, so that a call can be passed on as it came. */
export function keepingEncodings(service: ServiceDefinition): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      {
        ...method,
        requestDeserialize: (bytes: Buffer) => {
          const request = method.requestDeserialize(bytes) as FileMessage | object;
          // A chunk is a part of the bytes.
          const isChunk = 'payload' in request && request.payload?.$case === 'chunk';
          if (bytes.length <= KEPT_LIMIT || isChunk) encodings.set(request, bytes);
          return request;
        },
      },
    ]),
  );
}

/** The service with decoders that do not throw, and codecs that copy no files. */
export function decodingSafely(service: ServiceDefinition): ServiceDefinition {
  const safe = (method: MethodDefinition<object, object>): MethodDefinition<object, object> => ({
    ...method,
    responseSerialize: (response) => {
      if (response instanceof EncodedAnswer) return response.bytes;
      return response instanceof FilePieces ? encodeFilePieces(response) : method.responseSerialize(response);
    },
    requestDeserialize: (bytes) => {
      try {
        if (method.requestStream && !method.responseStream) {
          const chunk = chunkMessage(bytes);
          if (chunk !== undefined) return chunk;
        }
        return method.requestDeserialize(strictReader(bytes));
      } catch (error) {
        return new Undecodable(
          new GuestfsError('BAD_ARGUMENT', `the request cannot be decoded: ${messageOf(error)}`, {
            fields: [{ field: '(request)', description: messageOf(error) }],
            cause: error,
          }),
        );
      }
    },
  });
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [name, safe(method as MethodDefinition<object, object>)]),
  );
}

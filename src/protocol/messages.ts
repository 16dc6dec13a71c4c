/** Encodes and decodes the messages of the daemon's protocol; no I/O. */
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { requestTooLarge } from '../common/messageLimits.js';
import { XdrDecoder, XdrError } from '../xdr/decoder.js';
import { XdrEncoder } from '../xdr/encoder.js';
import {
  CANCEL_FLAG,
  DIRECTION_CALL,
  DIRECTION_REPLY,
  ERRNO_MAX,
  ERROR_TEXT_MAX,
  MAX_CHUNK_SIZE,
  MESSAGE_MAX,
  PROGRAM,
  PROTOCOL_VERSION,
  STATUS_ERROR,
  STATUS_OK,
} from './constants.js';
import type { DaemonCall } from './daemonCall.js';
import type { DaemonVersion } from './daemonVersion.js';

/** The daemon violated the wire protocol: the connection cannot be used any more. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** A chunk of a file. An empty one without `cancel` ends the file. */
export interface Chunk {
  readonly cancel: boolean;
  readonly data: Buffer;
}

/** Progress of a call. */
export interface ProgressMessage {
  readonly procedure: number;
  readonly serial: number;
  readonly position: bigint;
  readonly total: bigint;
}

const WORD = 4;
/** Length word, cancel word and the length of the data. */
const CHUNK_HEAD = 3 * WORD;
/** Data is copied if it takes a smaller share than this of its buffer, to avoid keeping the buffer alive. */
const LEAST_SHARE = 1 / 8;

/**
 * A complete call message with its length word.
 * @throws GuestfsError MESSAGE_TOO_LARGE if it is over the limit of the protocol
 */
export function encodeCall<Request>(
  call: DaemonCall<Request, unknown>,
  request: Request,
  options: { readonly serial: number; readonly progressHint: bigint; readonly daemon: DaemonVersion },
): Buffer {
  const body = new XdrEncoder();
  const optionalArguments = call.encode(body, request, options.daemon);
  const header = new XdrEncoder();
  header.unsignedInt(PROGRAM);
  header.unsignedInt(PROTOCOL_VERSION);
  header.int(call.procedure);
  header.int(DIRECTION_CALL);
  header.unsignedInt(options.serial);
  header.unsignedInt64(options.progressHint);
  header.unsignedInt64(optionalArguments);
  header.int(STATUS_OK);
  return frame(call.action, [header.finish(), body.finish()]);
}

/** Prepends the length word. */
function frame(action: string, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > MESSAGE_MAX) throw requestTooLarge(action, 'daemon', MESSAGE_MAX, length);
  const word = Buffer.alloc(WORD);
  word.writeUInt32BE(length);
  return Buffer.concat([word, ...parts], WORD + length);
}

/** Maximum size of the chunks for this much data, bytes. */
export function chunksSize(length: number): number {
  return length + Math.ceil(length / MAX_CHUNK_SIZE) * CHUNK_HEAD + WORD;
}

/**
 * The chunks of `data`, with their length words, as one buffer to write.
 * @param into buffer to write them to: reusing one for all pieces of a file avoids allocations that
 *   would cause V8 to run a full garbage collection every few megabytes
 */
export function encodeChunks(data: Buffer, into: Buffer = Buffer.allocUnsafe(chunksSize(data.length))): Buffer {
  let end = 0;
  for (let start = 0; start < data.length; start += MAX_CHUNK_SIZE) {
    const length = Math.min(MAX_CHUNK_SIZE, data.length - start);
    const padding = (WORD - (length % WORD)) % WORD;
    end = into.writeUInt32BE(2 * WORD + length + padding, end);
    end = into.writeUInt32BE(0, end);
    end = into.writeUInt32BE(length, end);
    end += data.copy(into, end, start, start + length);
    into.fill(0, end, end + padding);
    end += padding;
  }
  return into.subarray(0, end);
}

/** The chunk that ends a file, or cancels it. */
export function encodeLastChunk(cancel: boolean): Buffer {
  const bytes = Buffer.alloc(3 * WORD);
  bytes.writeUInt32BE(2 * WORD, 0);
  bytes.writeInt32BE(cancel ? 1 : 0, WORD);
  return bytes;
}

/** The chunk that cancels a file, without its length word. */
export const CANCEL_CHUNK = encodeLastChunk(true).subarray(WORD);
/** Length of the message that ends a file, complete or not, bytes. No other message is that short. */
export const FILE_END_LENGTH = CANCEL_CHUNK.length;

/** The flag that cancels a download. */
export function encodeCancelFlag(): Buffer {
  const bytes = Buffer.alloc(WORD);
  bytes.writeUInt32BE(CANCEL_FLAG);
  return bytes;
}

/** Decodes a complete message; an XDR error becomes a {@link ProtocolError}. */
function strictly<Value>(what: string, bytes: Buffer, read: (reader: XdrDecoder) => Value): Value {
  try {
    const reader = new XdrDecoder(bytes);
    const value = read(reader);
    reader.finish();
    return value;
  } catch (error) {
    if (error instanceof XdrError) throw new ProtocolError(`${what}: ${error.message}`, { cause: error });
    throw error;
  }
}

/**
 * Decodes a chunk from the daemon. Hand-written for speed: a gigabyte has a hundred thousand chunks.
 * `data` is a view of `bytes`, or a copy if the view would keep much more memory than its own alive.
 */
export function decodeChunk(bytes: Buffer): Chunk {
  if (bytes.length < 2 * WORD) throw malformedChunk(`${bytes.length} bytes`);
  const cancel = bytes.readInt32BE(0);
  if (cancel !== 0 && cancel !== 1) throw malformedChunk(`cancel word ${cancel}`);
  const length = bytes.readUInt32BE(WORD);
  if (length > MAX_CHUNK_SIZE) throw malformedChunk(`${length} bytes where at most ${MAX_CHUNK_SIZE} are allowed`);
  const start = 2 * WORD;
  const end = start + length;
  if (end > bytes.length) throw malformedChunk(`${length} bytes where ${bytes.length - start} are left`);
  const paddedEnd = end + ((WORD - (length % WORD)) % WORD);
  if (bytes.length < paddedEnd) throw malformedChunk('incomplete padding');
  if (bytes.length > paddedEnd) throw malformedChunk(`${bytes.length - paddedEnd} bytes too many`);
  for (let at = end; at < paddedEnd; at += 1) if (bytes[at] !== 0) throw malformedChunk('padding that is not zero');
  const part = bytes.subarray(start, end);
  return { cancel: cancel === 1, data: length < bytes.buffer.byteLength * LEAST_SHARE ? Buffer.from(part) : part };
}

function malformedChunk(what: string): ProtocolError {
  return new ProtocolError(`file chunk: ${what}`);
}

/** The bytes that follow a progress flag. */
export function decodeProgress(bytes: Buffer): ProgressMessage {
  return strictly('progress message', bytes, (reader) => ({
    procedure: reader.int(),
    serial: reader.unsignedInt(),
    position: reader.unsignedInt64(),
    total: reader.unsignedInt64(),
  }));
}

/** Fails unless a header word has the value it must have. */
function expectWord(what: string, actual: number, expected: number): void {
  if (actual !== expected) throw new XdrError(`${what} is ${actual}, not ${expected}`);
}

/** Where the serial number is in a header. */
const SERIAL_OFFSET = 4 * WORD;

/** Whether a message, according to its header, is the reply to the call with a serial number. */
export function answersCall(serial: number, bytes: Buffer): boolean {
  return bytes.length >= SERIAL_OFFSET + WORD && bytes.readUInt32BE(SERIAL_OFFSET) === serial;
}

/**
 * The value in a reply.
 * @throws GuestfsError the daemon's error
 * @throws ProtocolError if the reply is not one to this call
 */
export function decodeReply<Response>(call: DaemonCall<never, Response>, serial: number, bytes: Buffer): Response {
  const result = strictly(`reply to ${call.action}`, bytes, (reader): { value: Response } | { error: GuestfsError } => {
    expectWord('program', reader.unsignedInt(), PROGRAM);
    expectWord('protocol version', reader.unsignedInt(), PROTOCOL_VERSION);
    expectWord('procedure', reader.int(), call.procedure);
    expectWord('direction', reader.int(), DIRECTION_REPLY);
    expectWord('serial number', reader.unsignedInt(), serial);
    reader.unsignedInt64(); // progress hint and optional arguments mean nothing in a reply
    reader.unsignedInt64();
    const status = reader.int();
    if (status === STATUS_OK) return { value: call.decode(reader) };
    expectWord('status', status, STATUS_ERROR);
    const errno = reader.string(ERRNO_MAX);
    const text = reader.string(ERROR_TEXT_MAX);
    // Every errno has this form and none of our own reasons does, so an appliance cannot forge a server error.
    if (!/^(?:E[A-Z0-9]+)?$/.test(errno)) throw new XdrError('errno that is not a name');
    return { error: new GuestfsError(errno === '' ? 'DAEMON_ERROR' : errno, printable(text)) };
  });
  if ('error' in result) throw result.error;
  return result.value;
}

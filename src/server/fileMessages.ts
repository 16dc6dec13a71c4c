/**
 * Encoding and decoding of the messages with file content. The generated codecs would copy a
 * file three times on its way in and out; these copy it as rarely as grpc-js permits.
 */

/** Arguments of a FileIn action: those of the action, and the expected size and checksums of the file. */
export interface FileArguments {
  readonly progress_hint?: bigint | undefined;
  readonly exact_size?: bigint | undefined;
  readonly sha256?: Uint8Array | undefined;
  readonly crc32c?: number | undefined;
}

/** A message of the stream. */
export interface FileMessage {
  readonly payload:
    | { readonly $case: 'arguments'; readonly value: FileArguments }
    | { readonly $case: 'chunk'; readonly value: Buffer }
    | undefined;
}

/** Tag of the field `chunk` in the requests of all FileIn actions. */
const IN_TAG = 0x12;
/** A length is a varint: seven bits per byte; every byte but the last has the eighth bit set. */
const LENGTH_BITS = 7;

/**
 * Decodes a message that consists of a chunk and nothing else, as all but the first of a client
 * stream do. The value is a slice of `bytes`; the generated decoder would make a copy. Undefined
 * for other messages, and for unusual encodings.
 */
export function chunkMessage(bytes: Buffer): FileMessage | undefined {
  if (bytes[0] !== IN_TAG) return undefined;
  let length = 0;
  let at = 1;
  for (let shift = 0; shift < 4 * LENGTH_BITS; shift += LENGTH_BITS) {
    const byte = bytes[at] ?? 0;
    at += 1;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return at + length === bytes.length ? { payload: { $case: 'chunk', value: bytes.subarray(at) } } : undefined;
}

/** Response of a FileOut action whose chunk consists of these pieces, one after the other. */
export class FilePieces {
  constructor(readonly pieces: readonly Buffer[]) {}
}

/** Tag of the field `chunk` in the responses of all FileOut actions. */
const OUT_TAG = 0x0a;
/** Maximum size of a tag and a length. */
const HEAD_LIMIT = 6;

/**
 * Shared by all messages: grpc-js copies a serializer's result into its own buffer before it
 * does anything else. A new buffer for each message would only cause more garbage collection.
 */
let scratch: Buffer = Buffer.allocUnsafeSlow(256 * 1024);

/** The bytes of the message, valid until the next call. */
export function encodeFilePieces({ pieces }: FilePieces): Buffer {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  if (scratch.length < HEAD_LIMIT + length) scratch = Buffer.allocUnsafeSlow(HEAD_LIMIT + length);
  let end = scratch.writeUInt8(OUT_TAG, 0);
  for (let rest = length; ; rest >>>= LENGTH_BITS) {
    end = scratch.writeUInt8(rest < 0x80 ? rest : (rest & 0x7f) | 0x80, end);
    if (rest < 0x80) break;
  }
  for (const piece of pieces) end += piece.copy(scratch, end);
  return scratch.subarray(0, end);
}

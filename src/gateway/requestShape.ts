/**
 * Checks how many fields a request has, before it is decoded: a small request can be made of millions of values, which
 * take seconds to decode. The server does the same with what it receives.
 */
import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { badArgument, messageOf } from '../common/errors.js';
import { FIELD_LIMIT } from '../server/decoding.js';

function tooMany(): Error {
  return new Error(`more than ${FIELD_LIMIT} fields, which is the limit for a request`);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Each value but the first follows one of these, or opens with one: `[`, `{`, `,` and `:`. */
const BEFORE_VALUES = new Set([0x5b, 0x7b, 0x2c, 0x3a]);
/** In JSON, a field has a name and a value. */
const MARKS = FIELD_LIMIT * 2;

function checkJson(bytes: Buffer): void {
  let marks = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] ?? 0;
    if (byte === QUOTE) {
      index = endOfString(bytes, index + 1);
    } else if (BEFORE_VALUES.has(byte)) {
      marks += 1;
      if (marks > MARKS) throw tooMany();
    }
  }
}

/** Where the string ends that starts at `from`; the end of the bytes if it does not. */
function endOfString(bytes: Buffer, from: number): number {
  let end = bytes.indexOf(QUOTE, from);
  while (end > 0) {
    let before = end - 1;
    while (before >= from && bytes[before] === BACKSLASH) before -= 1;
    if ((end - 1 - before) % 2 === 0) return end;
    end = bytes.indexOf(QUOTE, end + 1);
  }
  return bytes.length;
}

/** Wire types of numbers with a fixed size, and that size. */
const FIXED = new Map<ScalarType, number>([
  [ScalarType.DOUBLE, 8],
  [ScalarType.FIXED64, 8],
  [ScalarType.SFIXED64, 8],
  [ScalarType.FLOAT, 4],
  [ScalarType.FIXED32, 4],
  [ScalarType.SFIXED32, 4],
]);

class Counter {
  #left = FIELD_LIMIT;

  count(message: DescMessage, bytes: Uint8Array): void {
    const reader = new BinaryReader(bytes);
    const fields = new Map(message.fields.map((field) => [field.number, field]));
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      this.#take(1);
      if (wireType === WireType.LengthDelimited) this.#delimited(fields.get(number), reader.bytes());
      else reader.skip(wireType, number);
    }
  }

  #delimited(field: DescField | undefined, bytes: Uint8Array): void {
    if (field?.fieldKind === 'map') {
      // An entry is a message of its own, with the value as field 2.
      const reader = new BinaryReader(bytes);
      while (reader.pos < reader.len) {
        const [number, wireType] = reader.tag();
        this.#take(1);
        if (field.mapKind === 'message' && number === 2 && wireType === WireType.LengthDelimited)
          this.count(field.message, reader.bytes());
        else reader.skip(wireType, number);
      }
      return;
    }
    if (field?.message !== undefined) return this.count(field.message, bytes);
    if (field?.fieldKind !== 'list') return;
    // Packed numbers.
    const scalar = field.listKind === 'scalar' ? field.scalar : undefined;
    if (scalar === ScalarType.STRING || scalar === ScalarType.BYTES) return;
    const size = scalar === undefined ? undefined : FIXED.get(scalar);
    if (size !== undefined) return this.#take(bytes.length / size);
    // All bytes of a number but its last have the highest bit.
    for (const byte of bytes) if (byte < 0x80) this.#take(1);
  }

  #take(count: number): void {
    this.#left -= count;
    if (this.#left < 0) throw tooMany();
  }
}

/**
 * Checks an encoded request.
 * @throws GuestfsError BAD_ARGUMENT
 */
export function checkShape(message: DescMessage, encoding: 'json' | 'proto', bytes: Buffer): void {
  // A field has at least two bytes.
  if (bytes.length <= FIELD_LIMIT * 2) return;
  try {
    if (encoding === 'json') checkJson(bytes);
    else new Counter().count(message, bytes);
  } catch (error) {
    throw badArgument('(request)', `the request cannot be decoded: ${messageOf(error)}`);
  }
}

/**
 * Reads values from XDR (RFC 4506). Bytes from an appliance are untrusted: anything that the type does not allow is an
 * {@link XdrError}. Written by hand for speed: a reply can have a million values, and all other clients have to wait
 * while it is decoded.
 */
import { decodeGuestText } from '../common/guestText.js';

/** The bytes do not match the type. */
export class XdrError extends Error {
  override readonly name = 'XdrError';
}

const UUID_LENGTH = 32;
const WORD = 4;
const LONG = 8;
/** No message is longer. */
const NO_LIMIT = 2 ** 32;
/** Strings up to this length, bytes, are read in a faster way ... */
const SHORT = 128;
/** ... and those up to this length character by character. */
const SHORTEST = 12;
/**
 * Maximum number of opaque values in one message: a buffer takes twenty times as long to create as a short string. Only
 * lists of extended attributes have many, and Linux allows some twenty thousand names for a file.
 */
const MAX_BUFFERS = 100_000;

const { fromCharCode } = String;

/** Decodes the values of one message, in order. */
export class XdrDecoder {
  readonly #bytes: Buffer;
  #at = 0;
  /** Number of opaque values that were read. */
  #buffers = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(WORD));
  }

  unsignedInt(): number {
    return this.#bytes.readUInt32BE(this.#take(WORD));
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(LONG));
  }

  unsignedInt64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(LONG));
  }

  bool(): boolean {
    const value = this.int();
    if (value !== 0 && value !== 1) throw new XdrError(`boolean with the value ${value}`);
    return value === 1;
  }

  /** A percentage; undefined if absent, which the daemon encodes as a negative number. */
  percentage(): number | undefined {
    const value = this.#bytes.readFloatBE(this.#take(WORD));
    return value >= 0 ? value : undefined;
  }

  /** Opaque data of variable length: a copy, at most `limit` bytes. */
  buffer(limit = NO_LIMIT): Buffer {
    this.#buffers += 1;
    if (this.#buffers > MAX_BUFFERS) throw new XdrError(`more than ${MAX_BUFFERS} values of opaque data`);
    const length = this.#length(limit);
    const start = this.#opaque(length);
    const copy = Buffer.allocUnsafe(length);
    this.#bytes.copy(copy, 0, start, start + length);
    return copy;
  }

  string(limit = NO_LIMIT): string {
    const length = this.#length(limit);
    const start = this.#opaque(length);
    if (length <= SHORT && this.#isPlain(start, start + length)) return this.#plain(start, start + length);
    const bytes = this.#bytes.subarray(start, start + length);
    if (bytes.includes(0)) throw new XdrError('string with a NUL character');
    return decodeGuestText(bytes);
  }

  /** One character, sent as an integer. */
  char(): string {
    const value = this.int();
    if (value < -128 || value > 255) throw new XdrError(`character with the value ${value}`);
    return decodeGuestText(Buffer.of(value & 0xff));
  }

  /** A UUID of LVM: 32 bytes without dashes. */
  uuid(): string {
    const start = this.#take(UUID_LENGTH);
    return decodeGuestText(this.#bytes.subarray(start, start + UUID_LENGTH));
  }

  /** A list; every element takes at least one word, which bounds the count before anything is allocated. */
  list<Item>(decode: (reader: XdrDecoder) => Item): Item[] {
    const count = this.unsignedInt();
    if (count > this.remaining / WORD) throw new XdrError(`list of ${count} elements in ${this.remaining} bytes`);
    const items: Item[] = [];
    for (let index = 0; index < count; index += 1) items.push(decode(this));
    return items;
  }

  stringList(): string[] {
    return this.list((reader) => reader.string());
  }

  /** A list of alternating keys and values. */
  hashtable(): Map<string, string> {
    const flat = this.stringList();
    if (flat.length % 2 !== 0) throw new XdrError('hashtable with a key that has no value');
    const table = new Map<string, string>();
    for (let index = 0; index < flat.length; index += 2) table.set(flat[index] ?? '', flat[index + 1] ?? '');
    return table;
  }

  /** Number of unread bytes. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Fails if bytes are left. */
  finish(): void {
    if (this.remaining > 0) throw new XdrError(`${this.remaining} bytes too many`);
  }

  /** The length of the value that follows. */
  #length(limit: number): number {
    const length = this.unsignedInt();
    if (length > limit) throw new XdrError(`${length} bytes where at most ${limit} are allowed`);
    if (length > this.remaining) throw new XdrError(`${length} bytes where ${this.remaining} are left`);
    return length;
  }

  /** Skips this many bytes, and the zeros after them up to the next word. @returns where the bytes begin */
  #opaque(length: number): number {
    const start = this.#take(length);
    const padding = this.#take(-length & (WORD - 1));
    for (let at = padding; at < this.#at; at += 1)
      if (this.#bytes[at] !== 0) throw new XdrError('padding that is not zero');
    return start;
  }

  /** Whether all bytes are ASCII, and none is a NUL. */
  #isPlain(start: number, end: number): boolean {
    for (let at = start; at < end; at += 1) {
      const byte = this.#bytes[at] ?? 0;
      if (byte === 0 || byte >= 0x80) return false;
    }
    return true;
  }

  /** Such a string, read without a view of its bytes, which would take longer to create than the string. */
  #plain(start: number, end: number): string {
    if (end - start > SHORTEST) return this.#bytes.toString('latin1', start, end);
    let text = '';
    for (let at = start; at < end; at += 1) text += fromCharCode(this.#bytes[at] ?? 0);
    return text;
  }

  /** Skips this many bytes. @returns where they begin */
  #take(length: number): number {
    const start = this.#at;
    const end = start + length;
    if (end > this.#bytes.length) throw new XdrError(`${length} bytes where ${this.remaining} are left`);
    this.#at = end;
    return start;
  }
}

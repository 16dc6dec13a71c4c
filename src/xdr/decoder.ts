/**
 * Reads values from XDR (RFC 4506), based on the primitives of @stellar/js-xdr. Bytes from an appliance are
 * untrusted: anything that the type does not allow is an {@link XdrError}.
 */
import jsXdr, { type XdrReader } from '@stellar/js-xdr';
import { decodeGuestText } from '../common/guestText.js';

/** The bytes do not match the type. */
export class XdrError extends Error {
  override readonly name = 'XdrError';
}

const UUID_LENGTH = 32;
const WORD = 4;

/** Decodes the values of one message, in order. */
export class XdrDecoder {
  readonly #reader: XdrReader;

  constructor(bytes: Buffer) {
    this.#reader = new jsXdr.XdrReader(bytes);
  }

  int(): number {
    return this.#checked(() => this.#reader.readInt32BE());
  }

  unsignedInt(): number {
    return this.#checked(() => this.#reader.readUInt32BE());
  }

  int64(): bigint {
    return this.#checked(() => this.#reader.readBigInt64BE());
  }

  unsignedInt64(): bigint {
    return this.#checked(() => this.#reader.readBigUInt64BE());
  }

  bool(): boolean {
    const value = this.int();
    if (value !== 0 && value !== 1) throw new XdrError(`boolean with the value ${value}`);
    return value === 1;
  }

  /** A percentage; undefined if absent, which the daemon encodes as a negative number. */
  percentage(): number | undefined {
    const value = this.#checked(() => this.#reader.readFloatBE());
    return value >= 0 ? value : undefined;
  }

  /** Opaque data of variable length: a copy, at most `limit` bytes. */
  buffer(limit = Infinity): Buffer {
    return Buffer.from(this.#opaque(limit));
  }

  string(limit = Infinity): string {
    const bytes = this.#opaque(limit);
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
    return decodeGuestText(Buffer.from(this.#checked(() => this.#reader.read(UUID_LENGTH))));
  }

  /** A list; every element takes at least one word, which bounds the count before anything is allocated. */
  list<Item>(decode: (reader: XdrDecoder) => Item): Item[] {
    const count = this.unsignedInt();
    if (count > this.#reader.remainingBytes() / WORD)
      throw new XdrError(`list of ${count} elements in ${this.#reader.remainingBytes()} bytes`);
    return Array.from({ length: count }, () => decode(this));
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
    return this.#reader.remainingBytes();
  }

  /** Fails if bytes are left. */
  finish(): void {
    if (this.remaining > 0) throw new XdrError(`${this.remaining} bytes too many`);
  }

  #opaque(limit: number): Buffer {
    const length = this.unsignedInt();
    if (length > limit) throw new XdrError(`${length} bytes where at most ${limit} are allowed`);
    if (length > this.remaining) throw new XdrError(`${length} bytes where ${this.remaining} are left`);
    return this.#checked(() => this.#reader.read(length));
  }

  #checked<Value>(read: () => Value): Value {
    try {
      return read();
    } catch (error) {
      throw new XdrError(error instanceof Error ? error.message : 'not XDR', { cause: error });
    }
  }
}

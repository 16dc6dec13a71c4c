/** Writes values as XDR (RFC 4506), based on the primitives of @stellar/js-xdr. */
import jsXdr from '@stellar/js-xdr';
import { encodeGuestText } from '../common/guestText.js';

/** Most messages are small. */
const INITIAL_SIZE = 256;

/** Doubles its size: with the library's small steps a message of megabytes would be copied hundreds of times. */
class GrowingWriter extends jsXdr.XdrWriter {
  #capacity = INITIAL_SIZE;

  constructor() {
    super(INITIAL_SIZE);
  }

  override resize(atLeast: number): void {
    this.#capacity = Math.max(atLeast, 2 * this.#capacity);
    super.resize(this.#capacity);
  }
}

/** Encodes the values of one message, in order. */
export class XdrEncoder {
  readonly #writer = new GrowingWriter();

  int(value: number): void {
    this.#writer.writeInt32BE(value);
  }

  unsignedInt(value: number): void {
    this.#writer.writeUInt32BE(value);
  }

  int64(value: bigint): void {
    this.#writer.writeBigInt64BE(value);
  }

  unsignedInt64(value: bigint): void {
    this.#writer.writeBigUInt64BE(value);
  }

  bool(value: boolean): void {
    this.#writer.writeInt32BE(value ? 1 : 0);
  }

  /** Opaque data of variable length. */
  buffer(value: Buffer): void {
    this.#writer.writeUInt32BE(value.length);
    if (value.length > 0) this.#writer.write(value, value.length);
  }

  string(value: string): void {
    this.buffer(encodeGuestText(value));
  }

  /** A string that may be absent (XDR optional data). */
  optionalString(value: string | undefined): void {
    this.bool(value !== undefined);
    if (value !== undefined) this.string(value);
  }

  stringList(values: readonly string[]): void {
    this.#writer.writeUInt32BE(values.length);
    for (const value of values) this.string(value);
  }

  /** The bytes written so far. */
  finish(): Buffer {
    return this.#writer.finalize();
  }
}

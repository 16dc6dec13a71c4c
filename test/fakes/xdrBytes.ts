/** Hand-written XDR, so that tests do not rely on the codec that they test. */

/** A 32-bit word. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** A 64-bit word. */
export function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
  return bytes;
}

/** Opaque data of variable length. */
export function opaque(bytes: Buffer): Buffer {
  return Buffer.concat([word(bytes.length), bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

export function text(value: string): Buffer {
  return opaque(Buffer.from(value, 'utf8'));
}

export function textList(values: readonly string[]): Buffer {
  return Buffer.concat([word(values.length), ...values.map(text)]);
}

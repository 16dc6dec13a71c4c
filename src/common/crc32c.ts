/**
 * CRC-32C (Castagnoli), as used by iSCSI, ext4 and cloud storage. Node has only the other
 * polynomial (`zlib.crc32`, missing in early releases of Node 20). With eight tables that process eight bytes at a
 * time, it is as fast as Node's SHA-256 and several times faster than any upload, so a native
 * package is not needed.
 */

/** The polynomial, bit-reversed. */
const POLYNOMIAL = 0x82f63b78;
const TABLE_SIZE = 256;
/** Bytes processed at a time, each with its own table. */
const STRIDE = 8;

function makeTables(): Int32Array {
  const tables = new Int32Array(STRIDE * TABLE_SIZE);
  for (let byte = 0; byte < TABLE_SIZE; byte += 1) {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    tables[byte] = value;
  }
  for (let at = TABLE_SIZE; at < tables.length; at += 1) {
    const before = tables[at - TABLE_SIZE] as number;
    tables[at] = (before >>> 8) ^ (tables[before & 0xff] as number);
  }
  return tables;
}

const tables = makeTables();

/**
 * @param bytes the next bytes
 * @param before the checksum of the bytes before them; 0 if there are none
 * @returns the checksum of both, an unsigned 32-bit integer
 */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const t = tables as unknown as readonly number[];
  const b = bytes as unknown as readonly number[];
  const whole = bytes.length - (bytes.length % STRIDE);
  let crc = ~before;
  let at = 0;
  for (; at < whole; at += STRIDE) {
    const low = crc ^ (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24));
    crc =
      t[1792 + (low & 0xff)]! ^
      t[1536 + ((low >>> 8) & 0xff)]! ^
      t[1280 + ((low >>> 16) & 0xff)]! ^
      t[1024 + (low >>> 24)]! ^
      t[768 + b[at + 4]!]! ^
      t[512 + b[at + 5]!]! ^
      t[256 + b[at + 6]!]! ^
      t[b[at + 7]!]!;
  }
  for (; at < bytes.length; at += 1) crc = (crc >>> 8) ^ t[(crc ^ b[at]!) & 0xff]!;
  return ~crc >>> 0;
}

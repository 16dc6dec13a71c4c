/** A VHDX image as a host leaves it that died: its log has an entry that was not yet applied. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { run } from './diskImages.js';

const HEADERS = [0x10000, 0x20000] as const;
const HEADER = 4096;
const CHECKSUM_AT = 4;
const LOG_GUID_AT = 48;
const LOG_LENGTH_AT = 68;
const LOG_OFFSET_AT = 72;
const CASTAGNOLI = 0x82f63b78;

function crc32c(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ ((sum & 1) * CASTAGNOLI);
  }
  return (sum ^ 0xffffffff) >>> 0;
}

/** Converts a raw image, then makes the headers name the last entry of the log as one that has to be replayed. */
export function dirtyVhdx(raw: string, path: string): void {
  run('qemu-img', 'convert', '-f', 'raw', '-O', 'vhdx', '-o', 'subformat=dynamic', raw, path);
  const file = openSync(path, 'r+');
  try {
    const read = (length: number, position: number): Buffer => {
      const bytes = Buffer.alloc(length);
      readSync(file, bytes, 0, length, position);
      return bytes;
    };
    const first = read(HEADER, HEADERS[0]);
    const log = read(first.readUInt32LE(LOG_LENGTH_AT), Number(first.readBigUInt64LE(LOG_OFFSET_AT)));
    const entry = log.lastIndexOf('loge');
    if (entry < 0) throw new Error('the image has no log');
    for (const position of HEADERS) {
      const header = read(HEADER, position);
      log.copy(header, LOG_GUID_AT, entry + 32, entry + 48);
      header.writeUInt32LE(0, CHECKSUM_AT);
      header.writeUInt32LE(crc32c(header), CHECKSUM_AT);
      writeSync(file, header, 0, HEADER, position);
    }
  } finally {
    closeSync(file);
  }
}

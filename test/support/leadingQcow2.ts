/** A qcow2 header that refers to a file of the user who opens the image. */

const INCOMPATIBLE_FEATURES_AT = 72;
const DATA_FILE = 1n << 2n;
const HEADER_LENGTH_AT = 100;
const DATA_FILE_EXTENSION = 0x44415441;

/** A header for `image`, a qcow2 image of version 3, with the same tables, but its data in an external file. */
export function leadingHeader(image: Buffer, dataFile: string): Buffer {
  const header = Buffer.from(image.subarray(0, 65536));
  header.writeBigUInt64BE(header.readBigUInt64BE(INCOMPATIBLE_FEATURES_AT) | DATA_FILE, INCOMPATIBLE_FEATURES_AT);
  const extensions = header
    .fill(0, header.readUInt32BE(HEADER_LENGTH_AT))
    .subarray(header.readUInt32BE(HEADER_LENGTH_AT));
  extensions.writeUInt32BE(DATA_FILE_EXTENSION, 0);
  extensions.writeUInt32BE(Buffer.byteLength(dataFile), 4);
  extensions.write(dataFile, 8);
  return header;
}

/** A tar archive of empty files, made as it is read. */

/** A header, and the size of all that an archive consists of. */
const BLOCK = 512;
/** Blocks in one piece. */
const PIECE_BLOCKS = 256;
const END_BLOCKS = 2;
const PERMISSIONS = '0000644\0';
const CHECKSUM_AT = 148;
const CHECKSUM_LENGTH = 8;

const NAME_LIMIT = 100;

/** What all headers have in common. */
function blankHeader(): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(PERMISSIONS, 100);
  header.write('0000000\0', 108); // user
  header.write('0000000\0', 116); // group
  header.write('00000000000\0', 124); // size
  header.write('00000000000\0', 136); // time
  header.fill(' ', CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_LENGTH);
  header.write('0', 156); // a file
  header.write('ustar\x0000', 257);
  return header;
}

/** Writes the header of an empty file into a block. */
function writeHeader(block: Buffer, blank: Buffer, name: string): void {
  if (Buffer.byteLength(name) > NAME_LIMIT) throw new Error(`${name} is too long for a header`);
  blank.copy(block);
  block.write(name, 0);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, CHECKSUM_AT);
}

/** The archive, in pieces; directories are made by those that extract it. */
export function* emptyFilesArchive(names: Iterable<string>): Generator<Buffer> {
  const blank = blankHeader();
  let piece = Buffer.alloc(PIECE_BLOCKS * BLOCK);
  let length = 0;
  for (const name of names) {
    writeHeader(piece.subarray(length, length + BLOCK), blank, name);
    length += BLOCK;
    if (length < piece.length) continue;
    yield piece;
    piece = Buffer.alloc(piece.length);
    length = 0;
  }
  yield piece.subarray(0, length);
  yield Buffer.alloc(END_BLOCKS * BLOCK);
}

/** A minimal valid program for Linux on x86-64, which exits with 0. An inspection determines the architecture from it. */
const HEADER_SIZE = 64;
const SEGMENT_HEADER_SIZE = 56;
const BASE_ADDRESS = 0x400000n;

/** mov $60, %eax (exit); xor %edi, %edi; syscall */
const CODE = Buffer.from([0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);

function fileHeader(entry: bigint): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bits, little-endian
  header.writeUInt16LE(2, 16); // an executable
  header.writeUInt16LE(62, 18); // for x86-64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(entry, 24);
  header.writeBigUInt64LE(BigInt(HEADER_SIZE), 32); // where the segment headers are
  header.writeUInt16LE(HEADER_SIZE, 52);
  header.writeUInt16LE(SEGMENT_HEADER_SIZE, 54);
  header.writeUInt16LE(1, 56); // how many there are
  return header;
}

function segmentHeader(size: bigint): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_SIZE);
  header.writeUInt32LE(1, 0); // to be loaded
  header.writeUInt32LE(5, 4); // readable, executable
  header.writeBigUInt64LE(BASE_ADDRESS, 16);
  header.writeBigUInt64LE(BASE_ADDRESS, 24);
  header.writeBigUInt64LE(size, 32);
  header.writeBigUInt64LE(size, 40);
  header.writeBigUInt64LE(0x1000n, 48);
  return header;
}

export function tinyProgram(): Buffer {
  const codeOffset = HEADER_SIZE + SEGMENT_HEADER_SIZE;
  return Buffer.concat([
    fileHeader(BASE_ADDRESS + BigInt(codeOffset)),
    segmentHeader(BigInt(codeOffset + CODE.length)),
    CODE,
  ]);
}

/** The headers of images: the other files that they refer to, and the sizes of their disks. */
import type { FileHandle } from 'node:fs/promises';
import { GuestfsError } from '../../../src/common/errors.js';
import { BadImageHeader } from '../../../src/images/badImageHeader.js';
import { writeEmptyQcow2, writeQcow2Head } from '../../../src/images/emptyQcow2.js';
import { extentsSize } from '../../../src/images/foreignHeader.js';
import { IMAGE_FORMATS, sniffFormat, type ImageFormat } from '../../../src/images/formats.js';
import { copyHead } from '../../../src/images/imageHead.js';
import { looksLike, recogniseImage } from '../../../src/images/recognise.js';
import { bytesInMemory, type ByteSource } from '../../../src/images/readFully.js';
import { ensure, unlessRejected, type Target } from '../engine/target.js';

const SUBJECT = "image 'fuzzed'";
const SECTOR = 512;
/** A header is at most one cluster of 2 MiB, and is read twice. */
const MOST_READ = 8 << 20;
const LONGEST_NAME = 1023;

/** Bytes as a file that checks the positions of reads, and counts the bytes read. */
function fileOf(bytes: Buffer): ByteSource & { readonly read: FileHandle['read'] } {
  const memory = bytesInMemory(bytes);
  let total = 0;
  return {
    read: (buffer: Buffer, offset: number, length: number, position: number) => {
      if (!Number.isSafeInteger(position) || position < 0) throw new RangeError(`read at ${position}`);
      total += length;
      ensure(total <= MOST_READ, 'far more than a header is read');
      return memory.read(buffer, offset, length, position);
    },
  } as unknown as ReturnType<typeof fileOf>;
}

/** The image that the project's code writes. */
async function written(write: (file: FileHandle) => Promise<void>): Promise<Buffer> {
  let image = Buffer.alloc(0);
  const file = {
    truncate: async (length: number) => {
      image = Buffer.alloc(length);
    },
    write: async (from: Buffer, offset: number, length: number, position: number) => ({
      bytesWritten: from.copy(image, position, offset, offset + length),
    }),
  };
  await write(file as unknown as FileHandle);
  return image;
}

function withFields(length: number, fields: Readonly<Record<number, string | Buffer>>): Buffer {
  const bytes = Buffer.alloc(length);
  for (const [at, value] of Object.entries(fields)) Buffer.from(value as string, 'latin1').copy(bytes, Number(at));
  return bytes;
}

/** A header with the smallest cluster size, so that inputs are short. */
function shortQcow2(head: Buffer, extensions: Buffer, backing: string): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  head.copy(bytes, 0, 0, 104);
  bytes.writeUInt32BE(9, 20);
  extensions.copy(bytes, 104);
  if (backing === '') return bytes;
  const at = 104 + extensions.length + 8;
  bytes.writeBigUInt64BE(BigInt(at), 8);
  bytes.writeUInt32BE(backing.length, 16);
  bytes.write(backing, at, 'latin1');
  return bytes;
}

const DESCRIPTOR = `# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="twoGbMaxExtentFlat"
RW 4192256 FLAT "disk-f001.vmdk" 0
`;

const BIG_ENDIAN_4 = Buffer.of(0, 0, 0, 4);

/** An input: the number of the stated format (0: none), and the image. */
function seed(format: ImageFormat | undefined, image: Buffer): Buffer {
  return Buffer.concat([Buffer.of(format === undefined ? 0 : 1 + IMAGE_FORMATS.indexOf(format)), image]);
}

export const headers: Target = {
  name: 'headers',
  about: 'the headers of qcow2, VMDK, VDI, VHD, VHDX and the other formats',
  longest: 2048,
  stretched: 2 << 20,
  async seeds() {
    // The images are sparse: only their heads are useful here.
    const head = await written((file) => writeEmptyQcow2(file, 1n << 30n));
    const overlay = await written((file) => writeQcow2Head(file, 1n << 20n, Buffer.from('head')));
    const dataFile = withFields(24, { 0: 'DATA\0\0\0\x08file.raw', 16: '\0\0\0\0\0\0\0\0' });
    const external = shortQcow2(head, dataFile, '');
    external[79] = 4;
    const sparse = withFields(SECTOR, { 0: 'KDMV\x01', 12: '\x01', 28: '\x01' });
    return [
      seed(undefined, head.subarray(0, 104)),
      seed(undefined, overlay.subarray(0, 104)),
      seed('qcow2', shortQcow2(head, Buffer.alloc(0), '')),
      seed('qcow2', shortQcow2(head, Buffer.from('e2792aca000000057163' + '6f7732000000', 'hex'), 'base.qcow2')),
      seed('qcow2', external),
      seed('qcow', withFields(48, { 0: 'QFI\xfb\0\0\0\x01' })),
      seed('qed', withFields(64, { 0: 'QED\0' })),
      seed('vmdk', Buffer.from(DESCRIPTOR)),
      seed('vmdk', Buffer.concat([sparse, Buffer.from(DESCRIPTOR)])),
      seed(undefined, withFields(SECTOR, { 0: 'KDMV\x01', 28: '\x01' })),
      seed(undefined, Buffer.from('COWD')),
      seed('vdi', withFields(SECTOR, { 0x40: '\x7f\x10\xda\xbe' })),
      seed('vpc', withFields(SECTOR, { 0: 'conectix', 60: BIG_ENDIAN_4 })),
      seed('vhdx', withFields(SECTOR, { 0: 'vhdxfile' })),
      seed('parallels', Buffer.from('WithoutFreeSpace')),
      seed('bochs', Buffer.from('Bochs Virtual HD Image')),
      seed('cloop', Buffer.from('#!/bin/sh\n#V2.0 Format\nmodprobe cloop')),
      seed('dmg', Buffer.from('koly')),
      seed(undefined, Buffer.from('LUKS\xba\xbe\0\x01', 'latin1')),
    ];
  },
  async run(input) {
    const pick = (input[0] ?? 0) % (IMAGE_FORMATS.length + 2);
    const stated = pick === 0 ? undefined : (IMAGE_FORMATS[pick - 1] ?? 'luks');
    const image = input.subarray(1);
    const opened = { handle: fileOf(image), size: BigInt(image.length) };
    const known = await unlessRejected([GuestfsError], () => recogniseImage(opened, stated, SUBJECT));
    const head = await unlessRejected([GuestfsError], () => copyHead({ handle: fileOf(image) }, SUBJECT));
    ensure(
      (await looksLike(opened)) === sniffFormat(image.subarray(0, SECTOR)),
      'an image is recognised as two formats',
    );
    // The extents of a VMDK are measured even if the image is refused.
    if (sniffFormat(image.subarray(0, SECTOR)) === 'vmdk') {
      const size = await unlessRejected([BadImageHeader], () => extentsSize(fileOf(image)));
      ensure(size === undefined || size > 0n, 'extents have no size');
    }
    if (known === undefined) return;
    const { virtualSize, qcow2: said } = known;
    ensure(
      virtualSize === undefined || virtualSize % 512n === 0n,
      'the size of a disk is not a multiple of the sector size',
    );
    for (const name of [said?.backing?.file, said?.backing?.format, said?.dataFile?.file])
      ensure(name === undefined || !name.includes('\0'), 'a name has a NUL character');
    ensure((said?.backing?.file.length ?? 0) <= LONGEST_NAME, 'the name of a backing file is too long');
    // qemu sees only the copied head, so it must have the same contents.
    if (head === undefined || known.format !== 'qcow2') return;
    const again = await recogniseImage({ handle: fileOf(head), size: opened.size }, stated, SUBJECT);
    ensure(JSON.stringify(again.qcow2, text) === JSON.stringify(said, text), 'the copied head has other contents');
  },
};

/** Converts values for JSON. */
function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

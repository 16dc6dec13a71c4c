/** VMDK whose parts the server reads itself: descriptors, the tables of extents, and the qcow2 images made of them. */
import type { FileHandle } from 'node:fs/promises';
import { BadImageHeader } from '../../../src/images/badImageHeader.js';
import { MappingBudget, writeCover, type MappedRun } from '../../../src/images/mappedFile.js';
import { bytesInMemory } from '../../../src/images/readFully.js';
import { parseVmdkDescriptor } from '../../../src/images/vmdkDescriptor.js';
import { mappedPart, vmdkParts } from '../../../src/images/vmdkParts.js';
import { ensure, turn, unlessRefused, unlessRejected, type Target } from '../engine/target.js';

const SECTOR = 512;
const CLUSTER = 65_536;
/** What an extent without any grain can take, bytes. */
const MOST_WRITTEN = 16 << 20;
/** Bytes that are compared. */
const SAMPLE = 16;

/** A file that keeps only what is written. */
class WrittenFile {
  readonly #pieces: { readonly at: number; readonly bytes: Buffer }[] = [];
  length = 0;

  async write(
    from: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }> {
    this.#pieces.push({ at: position, bytes: Buffer.from(from.subarray(offset, offset + length)) });
    return { bytesWritten: length };
  }

  async truncate(length: number): Promise<void> {
    this.length = length;
  }

  read(position: number, length: number): Buffer {
    ensure(position + length <= this.length, 'the cover refers to what is beyond its end');
    const found = Buffer.alloc(length);
    for (const { at, bytes } of this.#pieces) {
      const from = Math.max(position, at);
      const to = Math.min(position + length, at + bytes.length);
      if (from < to) bytes.copy(found, from - position, from - at, to - at);
    }
    return found;
  }
}

/** Where a qcow2 image has a byte; `zeros` or undefined if nowhere. */
function placeIn(read: (position: number, length: number) => Buffer, position: number): number | 'zeros' | undefined {
  const header = read(0, 104);
  const cluster = 2 ** header.readUInt32BE(20);
  const number = Math.floor(position / cluster);
  const table = Math.floor(number / (cluster / 8));
  ensure(table < header.readUInt32BE(36), 'the image has too few tables');
  const entryAt = (at: number): bigint => read(at, 8).readBigUInt64BE() & ~(1n << 63n);
  const l2 = entryAt(Number(header.readBigUInt64BE(40)) + 8 * table);
  if (l2 === 0n) return undefined;
  const entry = entryAt(Number(l2) + 8 * (number % (cluster / 8)));
  return entry === 0n ? undefined : entry === 1n ? 'zeros' : Number(entry) + (position % cluster);
}

/** Follows a run through the cover and the image in it, as qemu does. */
function checkRun({ disk, file }: MappedRun, cover: WrittenFile, image: Buffer): void {
  const inCover = (position: number, length: number): Buffer => {
    const place = placeIn((at, size) => cover.read(at, size), position);
    if (typeof place === 'number') return cover.read(place, length);
    const bytes = Buffer.alloc(length);
    image.copy(bytes, 0, position, position + length);
    return bytes;
  };
  const place = placeIn(inCover, disk);
  if (file === undefined) return ensure(place === 'zeros', 'zeros are not zeros');
  ensure(typeof place === 'number', 'data is nowhere');
  const length = Math.min(SAMPLE, CLUSTER - (place % CLUSTER));
  const expected = Buffer.alloc(length);
  image.copy(expected, 0, file, file + length);
  ensure(inCover(place, length).equals(expected), 'data is elsewhere');
}

function sparse(descriptor = ''): Buffer {
  const image = Buffer.alloc(8 * SECTOR);
  image.write('KDMV');
  image.writeUInt32LE(1, 4);
  image.writeUInt32LE(4, 8);
  image.writeBigUInt64LE(32n, 12);
  image.writeBigUInt64LE(8n, 20);
  image.writeBigUInt64LE(descriptor === '' ? 0n : 3n, 28);
  image.writeUInt32LE(4, 44);
  image.writeBigUInt64LE(1n, 56);
  image.writeUInt32LE(2, SECTOR);
  for (const [index, sector] of [0, 1, 0, 0].entries()) image.writeUInt32LE(sector, 2 * SECTOR + 4 * index);
  image.write(descriptor, 3 * SECTOR);
  return image;
}

const DESCRIPTOR = 'version=1\nCID=1\nparentCID=2\nparentFileNameHint="base.vmdk"\n';

export const mappings: Target = {
  name: 'mappings',
  about: 'VMDK in several files: descriptors, tables of extents, and the images that qemu gets in their place',
  longest: 8192,
  stretched: 1 << 20,
  seeds() {
    const whole = Buffer.concat([sparse(DESCRIPTOR), Buffer.alloc(16 * SECTOR, 'data')]);
    whole.writeUInt32LE(8, 2 * SECTOR);
    whole.writeUInt32LE(16, 2 * SECTOR + 12);
    return [
      Buffer.from(`# Disk DescriptorFile\n${DESCRIPTOR}RW 8 FLAT "a" 0\nRW 4 SPARSE "b"\n`),
      Buffer.from('RW 8 VMFS "a"\nRW 8 ZERO\n'),
      sparse(),
      sparse(DESCRIPTOR),
      whole,
    ];
  },
  async run(input) {
    const descriptor = unlessRefused([BadImageHeader], () => turn(() => parseVmdkDescriptor(input)));
    for (const { size, offset, file } of descriptor?.extents ?? []) {
      ensure(Number.isSafeInteger(size) && size > 0 && Number.isSafeInteger(offset) && offset >= 0, 'a size is none');
      ensure(file !== '' && !/["\0\n]/.test(file), 'a name is none');
    }
    const source = bytesInMemory(input);
    const fileSize = BigInt(input.length);
    const found = await unlessRejected([BadImageHeader], () => vmdkParts(source, fileSize));
    for (const part of found?.parts ?? []) {
      ensure(part.at + part.size <= part.diskSize, 'a part is outside the disk');
      const budget = new MappingBudget();
      const mapped = await unlessRejected([BadImageHeader], () => mappedPart(part, source, fileSize, budget));
      if (mapped === undefined) continue;
      const cover = new WrittenFile();
      const written = await unlessRejected([BadImageHeader], () =>
        writeCover(cover as unknown as FileHandle, mapped, budget),
      );
      if (written === undefined) continue;
      ensure(written <= MOST_WRITTEN + 64 * input.length, 'far more is written than is mapped');
      for await (const runs of mapped.runs())
        for (const run of [runs[0], runs.at(-1)]) if (run !== undefined) checkRun(run, cover, input);
    }
  },
};

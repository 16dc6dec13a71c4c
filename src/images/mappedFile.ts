/**
 * Makes a file with data of a disk, in any order, an image that qemu can read without parsing anything of the file.
 *
 * The server has found out where the data is. It writes this down as a qcow2 image: header and tables, whose clusters are
 * the file's. They are in a cover over the file, another qcow2 image with the file as its backing node, just as
 * the checked start of an image is (see imageHead.ts): the header takes the place of the first bytes of the file,
 * which follow its end with the tables.
 */
import type { FileHandle } from 'node:fs/promises';
import { BadImageHeader } from './badImageHeader.js';
import { QCOW_MAGIC } from './formats.js';
import { readFully, type ByteSource } from './readFully.js';

/** Bytes of the disk that are together in the file. In ascending order on the disk. */
export interface MappedRun {
  /** Where they are on the disk. */
  readonly disk: number;
  /** Where they are in the file; undefined: they are zeros, and nowhere. */
  readonly file: number | undefined;
  readonly length: number;
}

/** A file to map. */
export interface MappedSource {
  readonly file: ByteSource;
  /** Of the file, bytes. */
  readonly fileSize: bigint;
  /** Of the disk, bytes. */
  readonly diskSize: number;
  /** The runs, in pieces; called twice. */
  readonly runs: () => AsyncIterable<readonly MappedRun[]>;
}

const MAX_TABLES = 1 << 16;
const MAX_BYTES = 256 << 20;
/** Also of tables that are not there: an extent can announce a disk of any size. */
const MAX_DIRECTORY = 16 * MAX_TABLES;

/** Limits what the mapping of all files of a drive costs; enough for 2 TiB in grains of 64 KiB. */
export class MappingBudget {
  #tables = 0;
  #directory = 0;
  #bytes = 0;

  /** Before a directory of so many tables is read. @throws BadImageHeader */
  readDirectory(tables: number): void {
    this.#directory += tables;
    // It is read twice.
    if (this.#directory > 2 * MAX_DIRECTORY) throw tooLarge();
  }

  /** Before a table is read. @throws BadImageHeader */
  readTable(): void {
    this.#tables += 1;
    // Each is read twice.
    if (this.#tables > 2 * MAX_TABLES) throw tooLarge();
  }

  /** Before so many bytes are written. @throws BadImageHeader */
  write(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > MAX_BYTES) throw tooLarge();
  }
}

function tooLarge(): BadImageHeader {
  return new BadImageHeader('has more than can be mapped, 2 TiB in grains of 64 KiB: convert it with qemu-img convert');
}

/** Of the cover. */
const CLUSTER_BITS = 16;
const CLUSTER = 1 << CLUSTER_BITS;
const ENTRIES = CLUSTER / 8;
const HEADER_LENGTH = 104;
const MIN_BITS = 9;
/** With larger clusters, and tables as large, filling one would take too long. */
const MAX_BITS = 17;
const MAX_L1_ENTRIES = 1 << 20;
/** In the upper half of an entry: the cluster is used once. */
const USED_ONCE = 0x8000_0000;
/** In the lower half: the cluster is zeros. */
const ZEROS = 1;

/** Where things are in the file of the cover: its header, the header of the image, what follows the end of the file. */
const IMAGE_HEADER_AT = CLUSTER;
const TAIL_AT = 2 * CLUSTER;

/**
 * Turns `cover`, which must be empty, into the cover of a file.
 * @returns how many bytes were written
 * @throws BadImageHeader if the file cannot be mapped
 */
export async function writeCover(cover: FileHandle, source: MappedSource, budget: MappingBudget): Promise<number> {
  const { file, fileSize, diskSize, runs } = source;
  const bits = await clusterBits(runs(), diskSize);
  const cluster = 2 ** bits;
  // Whole clusters of both images.
  const unit = Math.max(cluster, CLUSTER);
  const tailStart = Math.ceil(Number(fileSize) / unit) * unit;
  const l1Entries = Math.ceil(diskSize / (cluster * (cluster / 8)));
  if (l1Entries > MAX_L1_ENTRIES)
    throw new BadImageHeader('has data in too small pieces for a disk of this size: convert it with qemu-img convert');
  let written = 0;
  const put = async (bytes: Buffer, position: number): Promise<void> => {
    budget.write(bytes.length);
    written += bytes.length;
    for (let done = 0; done < bytes.length; )
      done += (await cover.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  };

  // The tail: the start of the file, an empty table of reference counts, L2 tables, and the L1 table.
  await put(await readFully(file, 0, Math.min(unit, Number(fileSize))), TAIL_AT);
  const refcounts = unit;
  let end = refcounts + cluster;
  const place = (position: number): number => (position < unit ? tailStart + position : position);
  const l1 = Buffer.alloc(8 * l1Entries);
  const l2 = new TableWriter(cluster / 8);
  const flush = async (): Promise<void> => {
    if (l2.index === undefined) return;
    const { bytes, at } = l2.used();
    await put(bytes, TAIL_AT + end + at);
    writeEntry(l1, l2.index, tailStart + end);
    end += cluster;
  };
  for await (const piece of runs()) {
    for (const run of piece) {
      for (let done = 0; done < run.length; done += cluster) {
        const number = (run.disk + done) / cluster;
        if (!Number.isInteger(number) || run.disk + done >= diskSize || !isAligned(run.file ?? 0, bits))
          throw new BadImageHeader('has changed while it was read');
        const table = Math.floor(number / (cluster / 8));
        if (table !== l2.index) {
          if (l2.index !== undefined && table < l2.index) throw new BadImageHeader('has changed while it was read');
          await flush();
          l2.begin(table);
        }
        l2.set(number % (cluster / 8), run.file === undefined ? undefined : place(run.file + done));
      }
    }
  }
  await flush();
  const l1At = end;
  await put(l1, TAIL_AT + l1At);
  end += Math.ceil(l1.length / cluster) * cluster;
  await put(
    header({ bits, size: diskSize, l1Entries, l1At: tailStart + l1At, refcountsAt: tailStart + refcounts }),
    IMAGE_HEADER_AT,
  );
  const tailClusters = Math.ceil(end / CLUSTER);
  // qemu reads tables as a whole.
  await cover.truncate(await putCoverTables(put, tailStart, tailClusters));
  return written;
}

/** The largest clusters into which all data falls. */
async function clusterBits(runs: AsyncIterable<readonly MappedRun[]>, diskSize: number): Promise<number> {
  let bits = MAX_BITS;
  for await (const piece of runs) {
    for (const { disk, file = 0, length } of piece) {
      // The last cluster of the disk can be cut off.
      const end = disk + length === diskSize ? 0 : length;
      while (bits > MIN_BITS && !(isAligned(disk, bits) && isAligned(file, bits) && isAligned(end, bits))) bits -= 1;
    }
  }
  return bits;
}

function isAligned(position: number, bits: number): boolean {
  return position % 2 ** bits === 0;
}

/** One L2 table after the other. */
class TableWriter {
  index: number | undefined;
  readonly #bytes: Buffer;
  #first = 0;
  #last = -1;

  constructor(entries: number) {
    this.#bytes = Buffer.alloc(8 * entries);
  }

  begin(index: number): void {
    this.index = index;
    this.#bytes.fill(0, 8 * this.#first, 8 * (this.#last + 1));
    this.#last = -1;
  }

  /** @param position of the cluster; undefined: zeros */
  set(entry: number, position: number | undefined): void {
    if (this.#last === -1) this.#first = entry;
    this.#last = entry;
    if (position === undefined) this.#bytes.writeUInt32BE(ZEROS, 8 * entry + 4);
    else writeEntry(this.#bytes, entry, position);
  }

  /** The entries from the first to the last that were set, and where in the table they are. */
  used(): { readonly bytes: Buffer; readonly at: number } {
    return { bytes: this.#bytes.subarray(8 * this.#first, 8 * (this.#last + 1)), at: 8 * this.#first };
  }
}

function writeEntry(table: Buffer, entry: number, position: number): void {
  table.writeUInt32BE((Math.floor(position / 2 ** 32) | USED_ONCE) >>> 0, 8 * entry);
  table.writeUInt32BE(position % 2 ** 32, 8 * entry + 4);
}

interface HeaderFields {
  readonly bits: number;
  readonly size: number;
  readonly l1Entries: number;
  readonly l1At: number;
  readonly refcountsAt: number;
}

/** Of a qcow2 image (version 3) that names no backing file: its node is specified when the image is opened. */
function header({ bits, size, l1Entries, l1At, refcountsAt }: HeaderFields): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH);
  QCOW_MAGIC.copy(bytes);
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(bits, 20);
  bytes.writeBigUInt64BE(BigInt(size), 24);
  bytes.writeUInt32BE(l1Entries, 36);
  bytes.writeBigUInt64BE(BigInt(l1At), 40);
  bytes.writeBigUInt64BE(BigInt(refcountsAt), 48);
  // An image that is only read needs a table of reference counts, but no counts.
  bytes.writeUInt32BE(1, 56);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(HEADER_LENGTH, 100);
  return bytes;
}

/**
 * The header and tables of the cover itself, which has the image's header at its start, and a tail.
 * @returns the end of the last cluster
 */
async function putCoverTables(
  put: (bytes: Buffer, position: number) => Promise<void>,
  tailStart: number,
  tailClusters: number,
): Promise<number> {
  const first = tailStart / CLUSTER;
  const size = tailStart + tailClusters * CLUSTER;
  const refcountsAt = TAIL_AT + tailClusters * CLUSTER;
  let end = refcountsAt + CLUSTER;
  const l1Entries = Math.ceil(size / (CLUSTER * ENTRIES));
  const l1 = Buffer.alloc(8 * l1Entries);
  const tables = new Set([0]);
  for (let group = Math.floor(first / ENTRIES); group * ENTRIES < first + tailClusters; group += 1) tables.add(group);
  for (const group of tables) {
    const table = Buffer.alloc(CLUSTER);
    if (group === 0) writeEntry(table, 0, IMAGE_HEADER_AT);
    const from = Math.max(group * ENTRIES, first);
    const to = Math.min((group + 1) * ENTRIES, first + tailClusters);
    for (let number = from; number < to; number += 1)
      writeEntry(table, number % ENTRIES, TAIL_AT + (number - first) * CLUSTER);
    await put(table, end);
    writeEntry(l1, group, end);
    end += CLUSTER;
  }
  await put(l1, end);
  await put(header({ bits: CLUSTER_BITS, size, l1Entries, l1At: end, refcountsAt }), 0);
  return end + Math.ceil(l1.length / CLUSTER) * CLUSTER;
}

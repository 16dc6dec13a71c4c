/**
 * Reads the tables of a sparse extent of a VMDK, which say where its grains are, so that qemu need not read any of them.
 * Layout: VMware's "Virtual Disk Format".
 */
import { BadImageHeader } from './badImageHeader.js';
import type { MappedRun, MappingBudget } from './mappedFile.js';
import { readFully, type ByteSource } from './readFully.js';

const SECTOR = 512;
const ZERO_GRAINS = 1 << 2;
const COMPRESSED = 1 << 16;
const DIRECTORY_AT_END = 0xffff_ffff_ffff_ffffn;
const MAX_GRAIN_SECTORS = 1n << 16n;
const MIN_GRAIN_SECTORS = 8n;
const MAX_TABLE_ENTRIES = 512;
/** Of a directory that are read at once. */
const DIRECTORY_PIECE = 4096;
/** An entry of a table: nothing was ever written there; what was written is zeros. */
const NO_GRAIN = 0;
const GRAIN_OF_ZEROS = 1;

export interface SparseExtent {
  /** Of the part of the disk, bytes. */
  readonly size: number;
  /** Bytes. */
  readonly grain: number;
  /** Entries of a table. */
  readonly tableEntries: number;
  /** Where the directory of tables is, bytes. */
  readonly directoryAt: number;
  /** Whether an entry can stand for zeros. */
  readonly hasZeroGrains: boolean;
}

/**
 * @param fileSize bytes
 * @throws BadImageHeader
 */
export async function readSparseHeader(file: ByteSource, fileSize: bigint): Promise<SparseExtent> {
  const head = await readFully(file, 0, SECTOR);
  if (head.length < SECTOR || head.toString('latin1', 0, 4) !== 'KDMV')
    throw new BadImageHeader('is not a sparse extent of a VMDK');
  const flags = head.readUInt32LE(8);
  const capacity = head.readBigUInt64LE(12);
  const grain = head.readBigUInt64LE(20);
  const tableEntries = head.readUInt32LE(44);
  const directory = head.readBigUInt64LE(56);
  if ((flags & COMPRESSED) !== 0 || directory === DIRECTORY_AT_END)
    throw new BadImageHeader('is a stream-optimised extent, which is supported for an image in one file only');
  if (grain < MIN_GRAIN_SECTORS || grain > MAX_GRAIN_SECTORS || (grain & (grain - 1n)) !== 0n)
    throw new BadImageHeader(`has a damaged VMDK header: grains of ${grain} sectors`);
  if (tableEntries < 1 || tableEntries > MAX_TABLE_ENTRIES)
    throw new BadImageHeader(`has a damaged VMDK header: tables of ${tableEntries} entries`);
  if (capacity === 0n || capacity > 1n << 43n)
    throw new BadImageHeader(`has a damaged VMDK header: a capacity of ${capacity} sectors`);
  if (directory === 0n || directory * BigInt(SECTOR) >= fileSize)
    throw new BadImageHeader('has a damaged VMDK header: the directory of its grains is outside the file');
  return {
    size: Number(capacity) * SECTOR,
    grain: Number(grain) * SECTOR,
    tableEntries,
    directoryAt: Number(directory) * SECTOR,
    hasZeroGrains: (flags & ZERO_GRAINS) !== 0,
  };
}

/**
 * Where the data of an extent is in its file: the runs of one table after the other.
 * @param at where the extent begins on the disk, bytes
 * @throws BadImageHeader
 */
export async function* sparseRuns(
  file: ByteSource,
  fileSize: bigint,
  extent: SparseExtent,
  at: number,
  budget: MappingBudget,
): AsyncGenerator<readonly MappedRun[]> {
  const { size, grain, tableEntries, directoryAt } = extent;
  const bytesOfTable = grain * tableEntries;
  const tables = Math.ceil(size / bytesOfTable);
  budget.readDirectory(tables);
  for (let first = 0; first < tables; first += DIRECTORY_PIECE) {
    const count = Math.min(DIRECTORY_PIECE, tables - first);
    const directory = await readFully(file, directoryAt + 4 * first, 4 * count);
    if (directory.length < 4 * count) throw new BadImageHeader('is truncated: the directory of its grains is cut off');
    for (let index = 0; index < count; index += 1) {
      const sector = directory.readUInt32LE(4 * index);
      if (sector === 0) continue;
      budget.readTable();
      const start = (first + index) * bytesOfTable;
      const entries = Math.min(tableEntries, Math.ceil((size - start) / grain));
      const table = await readFully(file, sector * SECTOR, 4 * entries);
      if (table.length < 4 * entries) throw new BadImageHeader('is truncated: a table of its grains is cut off');
      yield runsOf(table, extent, start, at, fileSize);
    }
  }
}

function runsOf(
  table: Buffer,
  { size, grain, hasZeroGrains }: SparseExtent,
  start: number,
  at: number,
  fileSize: bigint,
): MappedRun[] {
  const runs: MappedRun[] = [];
  for (let index = 0; 4 * index < table.length; index += 1) {
    const sector = table.readUInt32LE(4 * index);
    if (sector === NO_GRAIN) continue;
    const inside = start + index * grain;
    const length = Math.min(grain, size - inside);
    const isZero = hasZeroGrains && sector === GRAIN_OF_ZEROS;
    if (!isZero && BigInt(sector * SECTOR + length) > fileSize)
      throw new BadImageHeader('is truncated or damaged: a grain is outside the file');
    runs.push({ disk: at + inside, file: isZero ? undefined : sector * SECTOR, length });
  }
  return runs;
}

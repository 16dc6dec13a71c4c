/**
 * Two disks of Windows' Logical Disk Manager, which only Windows can create: one with an MBR, one with a GPT, in one
 * group, with a volume on the first and another that spans both. The structures are those that libldm and Linux
 * (block/partitions/ldm.c) read; all numbers are big-endian, and offsets are in sectors.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { execFileSync } from 'node:child_process';

const SECTOR = 512;
const MEBIBYTE_SECTORS = 2048;

/** Size of each disk. */
const DISK_SECTORS = 64 * MEBIBYTE_SECTORS;
/** Size of the manager's own database, on each. */
const DATABASE_SECTORS = MEBIBYTE_SECTORS;
/** Where the data of volumes starts. */
const DATA_START = { mbr: 63, gpt: 34 + DATABASE_SECTORS } as const;
/** Offsets in the database: the first copy of its table of contents, and the structures that it refers to. */
const CONTENTS_AT = 2;
const RECORDS_AT = 17;
const RECORDS_SECTORS = 1481;
const LOG_SECTORS = 224;
const RECORD_SIZE = 128;

/** Types of records, with the revision in the upper half. */
const VOLUME = 0x51;
const COMPONENT = 0x32;
const PARTITION = 0x33;
const DISK = 0x34;
const GROUP = 0x35;

const HINT_GIVEN = 0x02;
const INDEX_GIVEN = 0x08;
const SPANNED = 2;
const GENERIC_VOLUME = 3;
const NTFS = 0x07;

type Table = 'mbr' | 'gpt';

export const GROUP_NAME = 'Dynamic-Dg0';
/** The GUID used in the reference's examples. */
export const GROUP_GUID = '8e0aee01-9a3c-4d4c-9a52-33d9a3ad8f1d';
const DISK_GUIDS = { mbr: randomUUID(), gpt: randomUUID() } as const;
export const SIMPLE_VOLUME = { name: 'Volume1', guid: randomUUID(), hint: 'E:' } as const;
export const SPANNED_VOLUME = { name: 'Volume2', guid: randomUUID(), hint: 'F:' } as const;

/** The parts of the volumes, in sectors from the start of the data. */
const SIMPLE_PART = { start: 1985, size: 16 * MEBIBYTE_SECTORS } as const;
const SPANNED_PARTS = [
  { disk: 'mbr', start: SIMPLE_PART.start + SIMPLE_PART.size, size: 12 * MEBIBYTE_SECTORS },
  { disk: 'gpt', start: MEBIBYTE_SECTORS, size: 20 * MEBIBYTE_SECTORS },
] as const;

const IDS = {
  group: 1,
  disk: { mbr: 2, gpt: 3 },
  simple: { volume: 4, component: 5, parts: [6] },
  spanned: { volume: 7, component: 8, parts: [9, 10] },
} as const;

const u8 = (value: number): Buffer => Buffer.of(value);
const u16 = (value: number): Buffer => Buffer.from(Uint8Array.of(value >> 8, value));
function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
const text = (value: string, size: number): Buffer => Buffer.concat([Buffer.from(value), Buffer.alloc(size)], size);
const zeros = (count: number): Buffer => Buffer.alloc(count);
/** Prefixed with its length. */
const counted = (value: string): Buffer => Buffer.concat([u8(value.length), Buffer.from(value)]);
const countedNumber = (value: number): Buffer => Buffer.concat([u8(4), u32(value)]);
const guidBytes = (guid: string): Buffer => Buffer.from(guid.replaceAll('-', ''), 'hex');

/** "PRIVHEAD": the locations of data and database on a disk. */
function privateHeader(table: Table, databaseStart: number): Buffer {
  return Buffer.concat(
    [
      text('PRIVHEAD', 8),
      u32(0),
      u16(2),
      u16(12),
      zeros(32),
      text(DISK_GUIDS[table], 64),
      text('', 64),
      text(GROUP_GUID, 64),
      text(GROUP_NAME, 32),
      zeros(11),
      u64(DATA_START[table]),
      u64(DISK_SECTORS - DATA_START[table] - (table === 'mbr' ? DATABASE_SECTORS : MEBIBYTE_SECTORS)),
      u64(databaseStart),
      u64(DATABASE_SECTORS),
      u64(1),
      u64(DATABASE_SECTORS - 2),
      u32(1),
      u32(1),
      u64(RECORDS_SECTORS),
      u64(LOG_SECTORS),
      zeros(100),
    ],
    SECTOR,
  );
}

/** "TOCBLOCK": the locations of records and log in the database. */
function tableOfContents(): Buffer {
  const area = (name: string, start: number, size: number): Buffer =>
    Buffer.concat([text(name, 8), u16(0), u64(start), u64(size), u64(0)]);
  return Buffer.concat(
    [
      text('TOCBLOCK', 8),
      zeros(28),
      area('config', RECORDS_AT, RECORDS_SECTORS),
      area('log', RECORDS_AT + RECORDS_SECTORS, LOG_SECTORS),
      zeros(SECTOR),
    ],
    SECTOR,
  );
}

function record(type: number, flags: number, ...fields: Buffer[]): Buffer {
  const data = Buffer.concat(fields);
  return Buffer.concat([u16(0), u8(flags), u8(type), u32(data.length), data]);
}

function volume(
  ids: typeof IDS.simple | typeof IDS.spanned,
  { name, guid, hint }: { readonly name: string; readonly guid: string; readonly hint: string },
  parts: readonly { readonly disk: Table; readonly start: number; readonly size: number }[],
): Buffer[] {
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  let offset = 0;
  return [
    record(
      VOLUME,
      HINT_GIVEN,
      countedNumber(ids.volume),
      counted(name),
      counted('gen'),
      counted(''),
      text('ACTIVE', 14),
      u8(GENERIC_VOLUME),
      u8(0),
      u8(1),
      zeros(3),
      u8(0x11),
      countedNumber(1),
      zeros(16),
      countedNumber(size),
      zeros(4),
      u8(NTFS),
      guidBytes(guid),
      counted(hint),
    ),
    record(
      COMPONENT,
      0,
      countedNumber(ids.component),
      counted(`${name}-01`),
      counted('ACTIVE'),
      u8(SPANNED),
      zeros(4),
      countedNumber(parts.length),
      zeros(16),
      countedNumber(ids.volume),
      u8(0),
    ),
    ...parts.map((part, index) => {
      const at = offset;
      offset += part.size;
      return record(
        PARTITION,
        INDEX_GIVEN,
        countedNumber(ids.parts[index] as number),
        counted(`${name}-01-${index}`),
        zeros(4),
        zeros(8),
        u64(part.start),
        u64(at),
        countedNumber(part.size),
        countedNumber(ids.component),
        countedNumber(IDS.disk[part.disk]),
        countedNumber(index),
      );
    }),
  ];
}

/** The manager's complete database, which is the same on each disk. */
function records(): Buffer[] {
  const disk = (table: Table, number: number): Buffer =>
    record(
      DISK,
      0,
      countedNumber(IDS.disk[table]),
      counted(`Disk${number}`),
      counted(DISK_GUIDS[table]),
      counted(''),
      zeros(4),
      zeros(8),
    );
  return [
    record(GROUP, 0, countedNumber(IDS.group), counted(GROUP_NAME), counted(GROUP_GUID), zeros(4), zeros(8)),
    disk('mbr', 1),
    disk('gpt', 2),
    ...volume(IDS.simple, SIMPLE_VOLUME, [{ disk: 'mbr', ...SIMPLE_PART }]),
    ...volume(IDS.spanned, SPANNED_VOLUME, SPANNED_PARTS),
  ];
}

/** "VBLK": a record, or an empty slot for one. */
function entry(sequence: number, id: number, bytes: Buffer | undefined): Buffer {
  const head = Buffer.concat([text('VBLK', 4), u32(sequence), u32(id), u16(0), u16(bytes === undefined ? 0 : 1)]);
  if (head.length + (bytes?.length ?? 0) > RECORD_SIZE)
    throw new Error(`a record of ${bytes?.length} bytes would have to be split`);
  return Buffer.concat([head, bytes ?? zeros(0), zeros(RECORD_SIZE)], RECORD_SIZE);
}

/** "VMDB", and all records. */
function database(): Buffer {
  const inSector = SECTOR / RECORD_SIZE;
  const used = records().map((bytes, index) => entry(inSector + index, index + 1, bytes));
  // Linux requires complete sectors, used or not.
  const unused = Array.from({ length: -used.length & (inSector - 1) }, (_, index) =>
    entry(inSector + used.length + index, 0, undefined),
  );
  const entries = [...used, ...unused];
  const counts = Buffer.concat([u32(2), u32(2), u32(3), u32(2)]);
  const header = Buffer.concat(
    [
      text('VMDB', 4),
      u32(inSector + entries.length),
      u32(RECORD_SIZE),
      u32(SECTOR),
      u16(1),
      u16(4),
      u16(10),
      text(GROUP_NAME, 31),
      text(GROUP_GUID, 64),
      u64(1),
      u64(1),
      counts,
      zeros(12),
      counts,
      zeros(12),
      u64(0),
      zeros(SECTOR),
    ],
    SECTOR,
  );
  const contents = tableOfContents();
  const bytes = Buffer.alloc(DATABASE_SECTORS * SECTOR);
  const put = (sector: number, what: Buffer): void => void what.copy(bytes, sector * SECTOR);
  // Linux compares the copies: two at each end.
  for (const sector of [1, CONTENTS_AT, DATABASE_SECTORS - 3, DATABASE_SECTORS - 2]) put(sector, contents);
  put(RECORDS_AT, Buffer.concat([header, ...entries]));
  return bytes;
}

/** Creates an image of 64 MiB. */
export function dynamicDisk(path: string, table: Table): string {
  const file = openSync(path, 'w');
  const put = (sector: number, bytes: Buffer): void => void writeSync(file, bytes, 0, bytes.length, sector * SECTOR);
  try {
    ftruncateSync(file, DISK_SECTORS * SECTOR);
    // The manager's own partition; the GPT's ends in the second copy of its header.
    const layout =
      table === 'mbr'
        ? `label: dos\nstart=63, size=${DISK_SECTORS - 63 - DATABASE_SECTORS}, type=42\n`
        : `label: gpt\nfirst-lba: 34\nstart=34, size=${DATABASE_SECTORS}, type=5808C8AA-7E8F-42E0-85D2-E1E90434CFB3\nstart=${DATA_START.gpt}, size=${DISK_SECTORS - DATA_START.gpt - MEBIBYTE_SECTORS}, type=AF9B60A0-1431-4F62-BC68-3311714A69AD\n`;
    execFileSync('sfdisk', ['--quiet', path], { input: layout, stdio: ['pipe', 'pipe', 'pipe'] });
    const databaseStart = table === 'mbr' ? DISK_SECTORS - DATABASE_SECTORS : DATA_START.gpt - DATABASE_SECTORS;
    put(databaseStart, database());
    const header = privateHeader(table, databaseStart);
    if (table === 'gpt') put(DATA_START.gpt - 1, header);
    else for (const sector of [6, DISK_SECTORS - DATABASE_SECTORS + 1856, DISK_SECTORS - 1]) put(sector, header);
  } finally {
    closeSync(file);
  }
  return path;
}

/** A journal of systemd with entries, as libsystemd reads it (its JOURNAL_FILE_FORMAT); all numbers are little-endian. */

const HEADER_SIZE = 208;
const OBJECT_HEADER_SIZE = 16;
/** Types of objects: data, and an entry. */
const FIXED_SIZE = 64;
const DATA = 1;
const ENTRY = 3;
const DATA_HASH_TABLE = 4;
const FIELD_HASH_TABLE = 5;
const ENTRY_ARRAY = 6;

/** A single hash chain for everything, since lookups do not use hashes. */
const HASH_TABLE_SIZE = 16;

export interface JournalEntry {
  /** Microseconds since 1970. */
  readonly realtime: bigint;
  /** Each `NAME=value`. */
  readonly fields: readonly string[];
}

const numbers = (...values: readonly (bigint | number)[]): Buffer =>
  Buffer.from(BigUint64Array.from(values.map(BigInt)).buffer);

/** Objects one after the other, each at a multiple of 8. */
class Arena {
  readonly #objects: Buffer[] = [];
  #end = HEADER_SIZE;
  last = 0;

  get count(): number {
    return this.#objects.length;
  }

  /** Adds an object; returns its offset. */
  add(type: number, ...parts: readonly Buffer[]): number {
    const body = Buffer.concat(parts);
    const size = OBJECT_HEADER_SIZE + body.length;
    const padded = Buffer.alloc(Math.ceil(size / 8) * 8);
    padded.writeUInt8(type, 0);
    padded.writeBigUInt64LE(BigInt(size), 8);
    body.copy(padded, OBJECT_HEADER_SIZE);
    this.last = this.#end;
    this.#objects.push(padded);
    this.#end += padded.length;
    return this.last;
  }

  /** The offset of the next object. */
  get next(): number {
    return this.#end;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#objects);
  }
}

/** The contents of a file whose name ends in `.journal`. */
export function journalFile(entries: readonly JournalEntry[]): Buffer {
  const arena = new Arena();
  const bootId = Buffer.alloc(16, 1);
  const dataTable = arena.add(DATA_HASH_TABLE, Buffer.alloc(HASH_TABLE_SIZE));
  const fieldTable = arena.add(FIELD_HASH_TABLE, Buffer.alloc(HASH_TABLE_SIZE));
  const offsets = entries.map(({ realtime, fields }, index) => {
    const sizes = fields.map((field) => Math.ceil((FIXED_SIZE + Buffer.byteLength(field)) / 8) * 8);
    const entry = arena.next + sizes.reduce((sum, size) => sum + size, 0);
    // Hash, next with the same hash, next of the field, entry, further entries, number of entries.
    const items = fields.map((field) => arena.add(DATA, numbers(0, 0, 0, entry, 0, 1), Buffer.from(field)));
    return arena.add(
      ENTRY,
      numbers(index + 1, realtime, index + 1),
      bootId,
      numbers(0, ...items.flatMap((item) => [item, 0])),
    );
  });
  const array = arena.add(ENTRY_ARRAY, numbers(0, ...offsets));
  const body = arena.bytes();
  const times = entries.map(({ realtime }) => realtime);
  const header = Buffer.concat([
    Buffer.from('LPKSHHRH'),
    Buffer.alloc(16), // no flags, and closed cleanly
    Buffer.alloc(16, 2),
    Buffer.alloc(16, 3),
    bootId,
    Buffer.alloc(16, 4),
    numbers(
      HEADER_SIZE,
      body.length,
      dataTable + OBJECT_HEADER_SIZE,
      HASH_TABLE_SIZE,
      fieldTable + OBJECT_HEADER_SIZE,
      HASH_TABLE_SIZE,
    ),
    numbers(
      arena.last,
      arena.count,
      entries.length,
      entries.length,
      1,
      array,
      times[0] ?? 0,
      times.at(-1) ?? 0,
      entries.length,
    ),
  ]);
  return Buffer.concat([header, body]);
}

/**
 * Size limits of the parts of a report. A guest can make its own data arbitrarily long, but a message must stay below
 * the 4 MiB that gRPC clients accept.
 */

/** Maximum text of one field, UTF-8 bytes. */
export const MAX_FIELD = 128 * 1024;
/** Maximum text of a list in a message, UTF-8 bytes. */
export const MAX_LIST = 512 * 1024;
/** Overhead of an entry, rounded up, bytes. */
const ENTRY_OVERHEAD = 64;
/** Maximum size of a list's entries including the facts about each, bytes; genuine disks need less. */
const MAX_DESCRIBED = 3 * 1024 * 1024;

/** UTF-8 bytes of all text in a value, plus the overhead of its entries. */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value) + ENTRY_OVERHEAD;
  if (value instanceof Map)
    return [...(value as ReadonlyMap<unknown, unknown>)].reduce((sum, entry) => sum + sizeOf(entry), 0);
  if (typeof value === 'object' && value !== null)
    return Object.values(value).reduce<number>((sum, part) => sum + sizeOf(part), 0);
  return 0;
}

/** The leading items that fit in a list. */
export function fitting<Item>(items: readonly Item[]): readonly Item[] {
  let room = MAX_LIST;
  const end = items.findIndex((item) => {
    room -= sizeOf(item);
    return room < 0;
  });
  return end < 0 ? items : items.slice(0, end);
}

/** Room for the facts about the entries of a list. */
export class Room {
  #left = MAX_DESCRIBED;

  /** Reserves room for a value; false if there is too little. */
  takes(value: unknown): boolean {
    this.#left -= sizeOf(value);
    return this.#left >= 0;
  }
}

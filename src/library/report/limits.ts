/**
 * How much a part of a report holds. A guest can fill what it says of itself; a message has to
 * stay below the 4 MiB that gRPC clients take.
 */

/** Text that one field holds at most, UTF-8 bytes. */
export const MAX_FIELD = 128 * 1024;
/** Text of a list in a message at most, UTF-8 bytes. */
export const MAX_LIST = 512 * 1024;
/** What an entry takes besides its text, generously, bytes. */
const ENTRY_OVERHEAD = 64;
/** What the entries of a list take at most once the answers about each are in them, bytes; those of disks that are sound take less. */
const MAX_DESCRIBED = 3 * 1024 * 1024;

/** UTF-8 bytes of all text in a value, and some for each of its entries. */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value) + ENTRY_OVERHEAD;
  if (value instanceof Map)
    return [...(value as ReadonlyMap<unknown, unknown>)].reduce((sum, entry) => sum + sizeOf(entry), 0);
  if (typeof value === 'object' && value !== null)
    return Object.values(value).reduce<number>((sum, part) => sum + sizeOf(part), 0);
  return 0;
}

/** The items from the start that a list has room for. */
export function fitting<Item>(items: readonly Item[]): readonly Item[] {
  let room = MAX_LIST;
  const end = items.findIndex((item) => {
    room -= sizeOf(item);
    return room < 0;
  });
  return end < 0 ? items : items.slice(0, end);
}

/** Room for what is found out about the entries of a list. */
export class Room {
  #left = MAX_DESCRIBED;

  /** Takes the room that a value needs; false if there is not so much. */
  takes(value: unknown): boolean {
    this.#left -= sizeOf(value);
    return this.#left >= 0;
  }
}

/** Treats inputs as streams that arrive in pieces of any size. */

/** The most that Node.js reads from a socket at a time. */
const READ = 64 * 1024;

/** More would make a run slow. */
const MOST_PIECES = 64;

/** Bytes, split into the largest pieces in which they can arrive. */
export function asRead(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / READ) }, (_, index) =>
    bytes.subarray(index * READ, (index + 1) * READ),
  );
}

/** The input without its first byte, whole and cut into pieces; the first byte determines their size. */
export function cut(input: Buffer): { readonly bytes: Buffer; readonly pieces: readonly Buffer[] } {
  const size = 1 + (input[0] ?? 0);
  const bytes = input.subarray(1);
  // The time of a run should not depend on the number of pieces.
  const step = Math.max(size, Math.ceil(bytes.length / MOST_PIECES));
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.subarray(at, at + step));
  return { bytes, pieces };
}

/** The pieces, as they arrive from a daemon. */
export async function* arriving(pieces: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield piece;
}

/** An input for {@link cut}. */
export function inPieces(size: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.of(size - 1), bytes]);
}

/** All items of an iterable, and the error with which it ended, if any. */
export async function gathered<Item>(
  items: AsyncIterable<readonly Item[]>,
): Promise<{ readonly list: Item[]; readonly error: unknown }> {
  const list: Item[] = [];
  try {
    for await (const some of items) for (const item of some) list.push(item);
    return { list, error: undefined };
  } catch (error) {
    return { list, error };
  }
}

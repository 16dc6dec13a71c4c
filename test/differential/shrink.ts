/** Makes a failing sequence short. */

/**
 * Leaves out ever smaller parts as long as what is left still fails.
 * @param fails whether a sequence fails; asked at most `limit` times
 */
export async function shrink<Item>(
  items: readonly Item[],
  fails: (items: readonly Item[]) => Promise<boolean>,
  limit: number,
): Promise<readonly Item[]> {
  let left = items;
  let asked = 0;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < left.length && left.length > 1; ) {
      const fewer = [...left.slice(0, start), ...left.slice(start + size)];
      if (fewer.length > 0) {
        if (asked >= limit) return left;
        asked += 1;
        if (await fails(fewer)) {
          left = fewer;
          continue;
        }
      }
      start += size;
    }
  }
  return left;
}

/** Shortens a failing sequence. */
import { asyncProperty, check, pre, subarray } from 'fast-check';

/**
 * Removes the items that a failing sequence does not need to fail, but never its last item.
 * @param fails whether a sequence fails; called at most `limit` times
 */
export async function shrink<Item>(
  items: readonly Item[],
  fails: (items: readonly Item[]) => Promise<boolean>,
  limit: number,
): Promise<readonly Item[]> {
  const [before, last] = [items.slice(0, -1), items.slice(-1)];
  let asked = 0;
  const holds = asyncProperty(subarray(before), async (some) => {
    pre(asked < limit);
    asked += 1;
    return !(await fails([...some, ...last]));
  });
  const { counterexample } = await check(holds, { numRuns: 1, examples: [[before]] });
  return [...(counterexample?.[0] ?? before), ...last];
}

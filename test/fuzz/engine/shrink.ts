/** Shortens an input while it still has the same effect. */

/**
 * @param still whether a shorter input has the effect
 * @param limitMs after this time, returns the shortest input found so far
 */
export async function shrink(
  input: Buffer,
  still: (shorter: Buffer) => Promise<boolean>,
  limitMs: number,
): Promise<Buffer> {
  const deadline = performance.now() + limitMs;
  let best = input;
  for (let size = 2 ** Math.ceil(Math.log2(Math.max(1, input.length))); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.length; ) {
      if (performance.now() > deadline) return best;
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (shorter.length < best.length && (await still(shorter))) best = shorter;
      else at += size;
    }
  }
  return best;
}

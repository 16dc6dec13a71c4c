/** Reproducible random numbers, for tests that are loops and not properties. */
import { integer, noBias, sample } from 'fast-check';

/** How many numbers there are before they repeat. */
const COUNT = 10_000;
const RANGE = 2 ** 30;

/** Makes a function that returns whole numbers below its argument, evenly spread; fast-check draws them. */
export function seeded(seed: number): (below: number) => number {
  // Unbiased: fast-check likes small numbers and limits better than others.
  const drawn = sample(noBias(integer({ min: 0, max: RANGE - 1 })), { seed, numRuns: COUNT });
  let next = 0;
  return (below) => Math.floor(((drawn[next++ % COUNT] ?? 0) / RANGE) * below);
}

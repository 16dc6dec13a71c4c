/** Choices of fast-check, for what is written as calls and not as arbitraries. */
import { constantFrom, gen, integer, noBias, noShrink, sample, type Arbitrary, type GeneratorValue } from 'fast-check';

const STEPS = 1_000_000;
const evenly = (): Arbitrary<number> => noBias(integer({ min: 0, max: STEPS - 1 }));

/** The choices of one value. */
export class Random {
  readonly #choose: GeneratorValue;

  constructor(choose: GeneratorValue) {
    this.#choose = choose;
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return this.#choose(integer, { min: least, max: most });
  }

  /** One of these. */
  of<Value>(...values: readonly Value[]): Value {
    const choice: (...values: Value[]) => Arbitrary<Value> = constantFrom;
    return this.#choose(choice, ...values);
  }

  /** True so often. */
  chance(probability: number): boolean {
    // Not fast-check's numbers between 0 and 1: most of those are close to 0.
    return this.#choose(evenly) < probability * STEPS;
  }
}

/** What is made of random choices. How sequences of them are shortened, shrink.ts says. */
function made<Value>(make: (random: Random) => Value): Arbitrary<Value> {
  return noShrink(gen().map((choose) => make(new Random(choose))));
}

/** So many values made of random choices, the same for the same seed. */
export function samples<Value>(make: (random: Random) => Value, seed: number, count: number): Value[] {
  return sample(made(make), { seed, numRuns: count });
}

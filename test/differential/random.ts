/** Choices of fast-check, for what is written as calls and not as arbitraries. */
import { constantFrom, gen, integer, noBias, noShrink, sample, type Arbitrary, type GeneratorValue } from 'fast-check';

/** Steps of a probability. */
const STEPS = 1_000_000;

/** Integers of which each comes as often; fast-check's own lean to the limits of the range, and to zero. */
const evenly = (least: number, most: number): Arbitrary<number> => noBias(integer({ min: least, max: most }));

/** The choices of one value. */
export class Random {
  readonly #choose: GeneratorValue;

  constructor(choose: GeneratorValue) {
    this.#choose = choose;
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return this.#choose(evenly, least, most);
  }

  /** One of these. */
  of<Value>(...values: readonly Value[]): Value {
    const choice: (...values: Value[]) => Arbitrary<Value> = constantFrom;
    return this.#choose(choice, ...values);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.integer(0, STEPS - 1) < probability * STEPS;
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

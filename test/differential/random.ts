/** Choices of fast-check, for what is written as calls and not as arbitraries. */
import {
  boolean,
  constantFrom,
  double,
  gen,
  integer,
  noShrink,
  sample,
  type Arbitrary,
  type GeneratorValue,
} from 'fast-check';

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

  /** True at least so often: fast-check leans to small numbers, and so to what is given and set. */
  chance(probability: number): boolean {
    if (probability === 0.5) return this.#choose(boolean);
    return this.#choose(double, { min: 0, max: 1, maxExcluded: true, noNaN: true }) < probability;
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

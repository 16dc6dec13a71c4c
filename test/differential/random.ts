/** Random choices by fast-check, for code that is written as calls and not as arbitraries. */
import { constantFrom, gen, integer, noBias, noShrink, sample, type Arbitrary, type GeneratorValue } from 'fast-check';

/** Steps of a probability. */
const STEPS = 1_000_000;

/** Evenly distributed integers; fast-check's own are biased towards the limits of the range and zero. */
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

/** A value made from random choices. Sequences of them are shortened by shrink.ts. */
function made<Value>(make: (random: Random) => Value): Arbitrary<Value> {
  return noShrink(gen().map((choose) => make(new Random(choose))));
}

/** This many values made from random choices, the same for the same seed. */
export function samples<Value>(make: (random: Random) => Value, seed: number, count: number): Value[] {
  return sample(made(make), { seed, numRuns: count });
}

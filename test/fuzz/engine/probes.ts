/**
 * Receives reports from instrumented code: which places it passes, and which values it compares. In the global object,
 * because the instrumented modules do not import it.
 */

/** Places that all instrumented modules can have together. */
const MAX_EDGES = 1 << 19;
/** Number of comparisons that are remembered; the latest ones. */
const MAX_PAIRS = 128;

type Comparable = string | number | bigint;

/** Two values that were compared and are not the same. */
export type Pair = readonly [Comparable, Comparable];

export class Probes {
  /** How often each place was passed, modulo 256. */
  readonly edges = new Uint8Array(MAX_EDGES);
  /** Places of the modules that are loaded. */
  used = 0;
  /** Literals in the code: strings and numbers that it may look for in its input. */
  readonly literals = new Set<Comparable>();
  readonly pairs: Pair[] = [];
  #nextPair = 0;

  /** Called by each module once it is loaded. */
  enter(end: number, literals: readonly Comparable[]): void {
    if (end > MAX_EDGES) throw new RangeError('there is more code than the fuzzer has room for');
    this.used = Math.max(this.used, end);
    for (const literal of literals) this.literals.add(literal);
  }

  /** These functions replace operators: `===` ... */
  readonly same = (one: unknown, other: unknown): boolean => one === other || this.#differ(one, other);
  /** ... `!==` ... */
  readonly other = (one: unknown, other: unknown): boolean => one !== other && !this.#differ(one, other);
  /** ... and the others. */
  readonly less = (one: Comparable, other: Comparable): boolean => this.#differ(one, other) || one < other;
  readonly atMost = (one: Comparable, other: Comparable): boolean => this.#differ(one, other) || one <= other;
  readonly more = (one: Comparable, other: Comparable): boolean => this.#differ(one, other) || one > other;
  readonly atLeast = (one: Comparable, other: Comparable): boolean => this.#differ(one, other) || one >= other;

  /** Records two values that would have to be equal for the code to take another branch. @returns false */
  #differ(one: unknown, other: unknown): false {
    const type = typeof one;
    if (type !== typeof other || (type !== 'number' && type !== 'string' && type !== 'bigint')) return false;
    this.pairs[this.#nextPair] = [one as Comparable, other as Comparable];
    this.#nextPair = (this.#nextPair + 1) % MAX_PAIRS;
    return false;
  }
}

/** Name of the global variable in which instrumented code finds the probes. */
export const PROBES = 'guestfsFuzzProbes';

/** Creates the probes of this process. Must be called before instrumented modules are loaded. */
export function installProbes(): Probes {
  const probes = new Probes();
  Object.defineProperty(globalThis, PROBES, { value: probes });
  return probes;
}

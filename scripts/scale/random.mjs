/** Random numbers from a seed: the same seed gives the same numbers on every machine. */

/** A small generator of 32 bits (mulberry32); its period of 2^32 is far longer than a simulation. */
export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** At least 0, less than 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /**
   * A whole number, at least 0 and less than `end`.
   * @param {number} end
   */
  below(end) {
    return Math.floor(this.next() * end);
  }

  /**
   * Exponentially distributed, as the times between independent events are.
   * @param {number} mean
   */
  exponential(mean) {
    return -mean * Math.log(1 - this.next());
  }
}

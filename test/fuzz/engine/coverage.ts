/** Records which places in the code inputs have reached, and roughly how often. */
import type { Probes } from './probes.js';

/** Counts in the same bucket are regarded as equal: 1, 2, 3, 4 to 7, ... Each bucket is one bit. */
const BUCKETS = Uint8Array.from({ length: 256 }, (_, count) => {
  if (count === 0) return 0;
  if (count <= 3) return 1 << (count - 1);
  if (count < 8) return 8;
  if (count < 16) return 16;
  if (count < 32) return 32;
  return count < 128 ? 64 : 128;
});

const WORD = 4;

export class Coverage {
  readonly #probes: Probes;
  readonly #words: Uint32Array;
  /** The buckets of each place that were seen. */
  readonly #seen: Uint8Array;
  /** Places that were reached. */
  reached = 0;

  constructor(probes: Probes) {
    this.#probes = probes;
    this.#words = new Uint32Array(probes.edges.buffer);
    this.#seen = new Uint8Array(probes.edges.length);
  }

  /** The total number of places. */
  get places(): number {
    return this.#probes.used;
  }

  /** Must be called before an input is run. */
  begin(): void {
    this.#probes.edges.fill(0, 0, this.#probes.used + WORD);
  }

  /** Must be called after an input was run. @returns whether it did something that no input did before */
  learn(): boolean {
    const { edges, used } = this.#probes;
    const end = Math.ceil(used / WORD);
    let isNew = false;
    for (let word = 0; word < end; word += 1) {
      if (this.#words[word] === 0) continue;
      for (let place = word * WORD; place < (word + 1) * WORD; place += 1) {
        const bucket = BUCKETS[edges[place] ?? 0] ?? 0;
        const seen = this.#seen[place] ?? 0;
        if ((seen & bucket) === bucket) continue;
        if (seen === 0) this.reached += 1;
        this.#seen[place] = seen | bucket;
        isNew = true;
      }
    }
    return isNew;
  }
}

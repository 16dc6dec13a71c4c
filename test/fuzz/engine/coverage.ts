/** Which places of the code inputs have reached, and about how often. */
import type { Probes } from './probes.js';

/** Counts that differ by less than this are taken for the same: 1, 2, 3, 4 to 7, ... One bit for each. */
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

  /** Places that there are. */
  get places(): number {
    return this.#probes.used;
  }

  /** To be called before an input is run. */
  begin(): void {
    this.#probes.edges.fill(0, 0, this.#probes.used + WORD);
  }

  /** To be called after it: whether it did what no input did before. */
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

/** What happened in a simulation, in order, and a digest of it: equal digests mean equal simulations. */
import { createHash } from 'node:crypto';

export class Trace {
  readonly #lines: string[] = [];

  /** @param now the simulated time, milliseconds */
  constructor(private readonly now: () => number) {}

  note(what: string): void {
    this.#lines.push(`${String(this.now()).padStart(8)} ${what}`);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  digest(): string {
    return createHash('sha256').update(this.#lines.join('\n')).digest('hex').slice(0, 16);
  }
}

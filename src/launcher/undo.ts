/** Collects cleanup steps and runs them in reverse order. */
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';

export class Undo {
  readonly #steps: { readonly what: string; readonly step: () => Promise<unknown> | void }[] = [];
  #running: Promise<void> | undefined;

  constructor(private readonly logger: Logger) {}

  /** Adds a step; `what` names it in the log if it fails. */
  add(what: string, step: () => Promise<unknown> | void): void {
    this.#steps.push({ what, step });
  }

  /** Runs all steps once, the last one first; the failure of one does not stop the others. */
  run(): Promise<void> {
    this.#running ??= this.#all();
    return this.#running;
  }

  async #all(): Promise<void> {
    for (const { what, step } of this.#steps.reverse()) {
      try {
        await step();
      } catch (error) {
        this.logger.warn('cleaning up after a machine failed', { what, reason: messageOf(error) });
      }
    }
  }
}

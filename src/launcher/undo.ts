/** What has been acquired on the way, to be given back in reverse order. */
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';

export class Undo {
  readonly #steps: { readonly what: string; readonly step: () => Promise<unknown> | void }[] = [];
  #running: Promise<void> | undefined;

  constructor(private readonly logger: Logger) {}

  /** Adds a step; `what` names it in the log, should it fail. */
  add(what: string, step: () => Promise<unknown> | void): void {
    this.#steps.push({ what, step });
  }

  /** Takes all steps once, the last one first; a failing one does not keep the others from being taken. */
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

/** Counts checks, and prints each of them. */
import { StepFailed } from '../support/run.mjs';

export class Checks {
  passed = 0;
  failed = 0;

  /**
   * Runs the checks of one part; an error that ends them is a failure.
   * @param {string} name
   * @param {(checks: Checks) => Promise<void>} verify
   */
  async part(name, verify) {
    try {
      await verify(this);
    } catch (error) {
      this.failed += 1;
      const text = error instanceof StepFailed ? error.message : error instanceof Error ? error.stack : String(error);
      console.log(`FAILED ${name}: ${text}`);
    }
  }

  /**
   * One check.
   * @param {string} what
   * @param {boolean} holds
   * @param {string} [found] What was found instead.
   */
  that(what, holds, found = '') {
    if (holds) this.passed += 1;
    else this.failed += 1;
    console.log(`${holds ? 'ok' : 'FAILED'} ${what}${holds || found === '' ? '' : `\n${found}`}`);
  }
}

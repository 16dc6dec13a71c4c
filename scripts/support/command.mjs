/** Runs a script: a step that fails is explained, and the script exits with code 1. */
import { StepFailed } from './run.mjs';
import { say } from './say.mjs';

/** @param {() => Promise<unknown>} action */
export async function command(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    say(error.message);
    process.exit(1);
  }
}

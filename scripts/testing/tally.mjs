/** Counts of tests. */

/**
 * Counts, and what to repeat at the very end: which test failed, and how; which check was skipped, and why.
 * @typedef {{ passed: number, failed: number, skipped: number, failures?: readonly string[], skips?: readonly string[] }} Tally
 */

/** @type {Tally} */
export const nothing = { passed: 0, failed: 0, skipped: 0 };
/** @type {Tally} */
export const onePassed = { passed: 1, failed: 0, skipped: 0 };
/** @type {Tally} */
export const oneFailed = { passed: 0, failed: 1, skipped: 0 };
/** @type {Tally} */
export const oneSkipped = { passed: 0, failed: 0, skipped: 1 };

/**
 * @param {Tally} one
 * @param {Tally} other
 * @returns {Tally}
 */
export function add(one, other) {
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    skipped: one.skipped + other.skipped,
    failures: [...(one.failures ?? []), ...(other.failures ?? [])],
    skips: [...(one.skips ?? []), ...(other.skips ?? [])],
  };
}

/** @param {Tally} tally */
export function tallyLine({ passed, failed, skipped }) {
  return `${String(passed)} passed, ${String(failed)} failed, ${String(skipped)} skipped`;
}

/** A named part of the tests: some of the unit and integration tests, by what they show. */

import { add, nothing } from './tally.mjs';

/**
 * Test files or directories (with a slash at the end) below `test`, without file name extensions, by what they show.
 * @typedef {Readonly<Record<string, readonly string[]>>} TestsByPoint
 */

/**
 * Whether a test belongs to a point.
 * @param {readonly string[]} tests
 * @param {string} file its path, compiled or not
 */
export function isAmong(tests, file) {
  return tests.some((test) => file.includes(test.endsWith('/') ? `test/${test}` : `test/${test}.`));
}

/** Whether a test file belongs to any point. @param {TestsByPoint} points @param {string} file */
export function concerns(points, file) {
  return Object.values(points).some((tests) => isAmong(tests, file));
}

/**
 * The results of each point.
 * @param {TestsByPoint} points
 * @param {readonly import('./tally.mjs').TestFile[]} [files]
 * @returns {[point: string, tally: import('./tally.mjs').Tally][]}
 */
export function tallyByPoint(points, files = []) {
  return Object.entries(points).map(([point, tests]) => [
    point,
    files.filter(({ file }) => isAmong(tests, file)).reduce((sum, { tally }) => add(sum, tally), nothing),
  ]);
}

/** A regular expression for the paths of the compiled tests. @param {TestsByPoint} points */
export function pathsOf(points) {
  const tests = Object.values(points).flat();
  return `dist/test/(?:${tests.map((test) => (test.endsWith('/') ? test : `${test}\\.`)).join('|')})`;
}

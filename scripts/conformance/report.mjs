/** Evaluates the results: against the vectors known to fail, and against the real library. */
import { readFileSync } from 'node:fs';
import { inProject } from '../support/project.mjs';

/** @typedef {import('./suite.mjs').VectorResult} VectorResult */

/** Vectors that are known to fail, each with its cause; committed, so that it is reviewed. */
const EXPECTATIONS = inProject('test', 'conformance-expectations.json');

/**
 * Causes by vector.
 * @returns {Map<string, string>}
 */
export function knownCauses() {
  /** @type {{ knownNotToPass: Record<string, string> }} */
  const { knownNotToPass } = JSON.parse(readFileSync(EXPECTATIONS, 'utf8'));
  return new Map(Object.entries(knownNotToPass));
}

/**
 * Prints a report and counts: a vector that fails for a known cause counts as skipped.
 * @param {import('./suite.mjs').Suite} suite
 * @param {import('./suite.mjs').Results} ours
 * @param {ReadonlyMap<string, string>} known
 * @returns {import('../testing/tally.mjs').Tally}
 */
export function report(suite, ours, known) {
  const library = suite.libraryResults().results;
  const results = Object.values(ours.results);
  const notPassed = results.filter(({ status }) => status === 'fail' || status === 'unsupported');
  const unexpected = notPassed.filter(({ id }) => !known.has(id));
  const skipped = results.filter(({ status }) => status === 'skip');
  const passed = results.filter(({ status }) => status === 'pass');

  list(
    'failed',
    unexpected,
    ({ id, status, reason }) => `${id} (${status}; the library: ${library[id]?.status ?? 'not run'}): ${reason}`,
  );
  list(
    'failed for a known cause',
    notPassed.filter(({ id }) => known.has(id)),
    ({ id }) => `${id}: ${known.get(id) ?? ''}`,
  );
  list('skipped', skipped, ({ id, reason }) => `${id}: ${reason}`);
  list(
    'listed as known not to pass, and passed: take them off the list',
    passed.filter(({ id }) => known.has(id)),
    ({ id }) => id,
  );
  list(
    'passed where the library did not',
    passed.filter(({ id }) => library[id] !== undefined && library[id].status !== 'pass'),
    ({ id }) => id,
  );
  printShare(suite, results, library);
  return {
    passed: passed.length,
    failed: unexpected.length,
    skipped: skipped.length + notPassed.length - unexpected.length,
  };
}

/**
 * The project's measure: the share of the vectors for daemon actions that the library passes.
 * @param {import('./suite.mjs').Suite} suite
 * @param {readonly VectorResult[]} results
 * @param {Readonly<Record<string, VectorResult>>} library
 */
function printShare(suite, results, library) {
  const daemonActions = suite.daemonActions();
  const measured = results.filter(({ id, action }) => daemonActions.has(action) && library[id]?.status === 'pass');
  if (measured.length === 0) return;
  const passed = measured.filter(({ status }) => status === 'pass').length;
  console.log(
    `daemon actions: ${String(passed)} of the ${String(measured.length)} vectors that the library passes (${((100 * passed) / measured.length).toFixed(1)} %)`,
  );
}

/**
 * @template Item
 * @param {string} title
 * @param {readonly Item[]} items
 * @param {(item: Item) => string} line
 */
function list(title, items, line) {
  if (items.length === 0) return;
  console.log(`${title} (${String(items.length)}):`);
  for (const item of items) console.log(`  ${line(item).replace(/\s+/g, ' ').slice(0, 400)}`);
}

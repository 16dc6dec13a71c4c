/** Runs compiled tests with Jest. */
import { readFileSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { inProject, root } from '../support/project.mjs';
import { start } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { add, nothing, oneFailed } from './tally.mjs';

/**
 * Options of a Jest run.
 * @typedef {object} JestRun
 * @property {string} name Name of the results file.
 * @property {string} paths Regular expression for the paths of test files.
 * @property {string} [not] Another, for files among them to leave out.
 * @property {string} [only] Another: only matching files among them.
 * @property {string[]} [flags]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {number} limitMs Time limit of the run.
 */

/**
 * Runs test files. The counts are Jest's, plus one failure for a run that did not end normally.
 * @param {JestRun} asked
 * @returns {Promise<import('./tally.mjs').Tally>}
 */
export async function runJest({ name, paths, not, only, flags = [], env, limitMs }) {
  const resultsFile = inProject('dist', `test-results-${name}.json`);
  rmSync(resultsFile, { force: true });
  const command = [
    // The tests are ES modules, which Jest loads through an API that Node.js has behind this flag.
    process.execPath,
    '--experimental-vm-modules',
    inProject('node_modules', '.bin', 'jest'),
    '--cacheDirectory',
    inProject('dist', '.jest'),
    '--json',
    '--outputFile',
    resultsFile,
    '--passWithNoTests',
    ...flags,
    ...(not === undefined ? [] : ['--testPathIgnorePatterns', not]),
    '--testPathPatterns',
    only === undefined ? paths : `(?=.*${paths}).*(?:${only})`,
  ];
  // The results go to the file, the readable report to standard error.
  const ended = await start(command, { stdio: ['ignore', 'ignore', 'inherit'], env, limitMs });
  const counted = readResults(resultsFile);
  if (typeof ended === 'string') say(`Jest was killed (${ended})`);
  return counted.failed === 0 && ended !== 0 ? add(counted, oneFailed) : counted;
}

/** Lines of a failed test's message that the summary repeats. */
const FAILURE_LINES = 12;

/**
 * The part of Jest's results that is read.
 * @typedef {object} JestResults
 * @property {number} [numPassedTests]
 * @property {number} [numFailedTests]
 * @property {number} [numPendingTests]
 * @property {number} [numTodoTests]
 * @property {number} [numRuntimeErrorTestSuites]
 * @property {{ name: string, message: string, status: string, assertionResults: { fullName: string, status: string, failureMessages: string[] }[] }[]} [testResults]
 */

/**
 * @param {string} title
 * @param {string} text
 */
function failureText(title, text) {
  const lines = stripVTControlCharacters(text)
    .split('\n')
    .filter((line) => line.trim() !== '');
  return [title, ...lines.slice(0, FAILURE_LINES).map((line) => `    ${line}`)].join('\n');
}

/** @param {JestResults} results */
function failuresOf({ testResults = [] }) {
  return testResults.flatMap(({ name, message, status, assertionResults }) => {
    const file = relative(root, name);
    const tests = assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => failureText(`${file}: ${test.fullName}`, test.failureMessages.join('\n')));
    return tests.length === 0 && status === 'failed' ? [failureText(file, message)] : tests;
  });
}

/** @param {JestResults} results */
function filesOf({ testResults = [] }) {
  return testResults.map(({ name, status, assertionResults }) => {
    /** @param {string} wanted */
    const count = (wanted) => assertionResults.filter((test) => test.status === wanted).length;
    const [passed, failed] = [count('passed'), count('failed')];
    const skipped = assertionResults.length - passed - failed;
    const notLoaded = status === 'failed' && assertionResults.length === 0;
    return { file: relative(root, name), tally: { passed, failed: notLoaded ? 1 : failed, skipped } };
  });
}

/**
 * @param {string} file
 * @returns {import('./tally.mjs').Tally}
 */
function readResults(file) {
  /** @type {JestResults} */
  let results;
  try {
    results = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return nothing;
  }
  const {
    numPassedTests = 0,
    numFailedTests = 0,
    numPendingTests = 0,
    numTodoTests = 0,
    numRuntimeErrorTestSuites = 0,
  } = results;
  // A file that cannot be loaded has no tests to count; count the file.
  return {
    passed: numPassedTests,
    failed: numFailedTests + numRuntimeErrorTestSuites,
    skipped: numPendingTests + numTodoTests,
    failures: failuresOf(results),
    files: filesOf(results),
  };
}

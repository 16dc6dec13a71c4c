/** How results of the conformance suite are counted. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../architecture/sourceTree.js';

interface Counted {
  report(
    suite: unknown,
    results: unknown,
    known: ReadonlyMap<string, string>,
  ): Readonly<Record<'passed' | 'failed' | 'skipped', number>>;
}

const { report } = (await import(pathToFileURL(join(root, 'scripts/conformance/report.mjs')).href)) as Counted;

/** Results by vector; the action is the part before the colon. */
function resultsOf(statuses: Readonly<Record<string, string>>) {
  return {
    meta: {},
    results: Object.fromEntries(
      Object.entries(statuses).map(([id, status]) => [
        id,
        { id, action: id.split(':')[0], status, reason: 'because', seconds: 1 },
      ]),
    ),
  };
}

const suite = {
  daemonActions: () => new Set(['mkfs', 'ls', 'cat']),
  libraryResults: () => resultsOf({ 'mkfs:0': 'pass', 'mkfs:1': 'pass', 'ls:0': 'fail', 'version:0': 'pass' }),
};

let printed = '';
beforeEach(() => {
  printed = '';
  jest.spyOn(console, 'log').mockImplementation((line: unknown) => void (printed += `${String(line)}\n`));
});
afterEach(() => void jest.restoreAllMocks());

test('a vector that fails for a known cause counts as skipped, another one as failed', () => {
  const known = new Map([['mkfs:1', 'the daemon is too old']]);
  expect(
    report(suite, resultsOf({ 'mkfs:0': 'pass', 'mkfs:1': 'fail', 'cat:0': 'unsupported', 'ls:0': 'skip' }), known),
  ).toEqual({ passed: 1, failed: 1, skipped: 2 });
  expect(printed).toContain('mkfs:1: the daemon is too old');
  expect(printed).toContain('cat:0 (unsupported; the library: not run): because');
});

test('a known failure that passes is reported, so that the list shrinks', () => {
  expect(report(suite, resultsOf({ 'mkfs:1': 'pass' }), new Map([['mkfs:1', 'old']]))).toEqual({
    passed: 1,
    failed: 0,
    skipped: 0,
  });
  expect(printed).toMatch(/take them off the list \(1\):\n {2}mkfs:1/);
});

test('the share is of the vectors for daemon actions that the library passes', () => {
  report(suite, resultsOf({ 'mkfs:0': 'pass', 'mkfs:1': 'fail', 'ls:0': 'pass', 'version:0': 'fail' }), new Map());
  expect(printed).toContain('1 of the 2 vectors that the library passes (50.0 %)');
});

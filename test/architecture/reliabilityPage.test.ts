/** The tests that docs/reliability.md names for each fault exist, and `npm test -- faults` runs them. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { exists, filesBelow, root, textOf } from './sourceTree.js';

type TestsByPoint = Readonly<Record<string, readonly string[]>>;
const scripts = (name: string): Promise<unknown> => import(pathToFileURL(join(root, 'scripts/testing', name)).href);
const { FAULT_TESTS } = (await scripts('faultTests.mjs')) as { FAULT_TESTS: TestsByPoint };
const { concerns, isAmong } = (await scripts('testSubset.mjs')) as {
  concerns: (points: TestsByPoint, file: string) => boolean;
  isAmong: (tests: readonly string[], file: string) => boolean;
};

const page = textOf('docs/reliability.md');
/** Fault, what the client sees, what is left, and the test. */
const faults = page
  .slice(page.indexOf('## Faults'), page.indexOf('## Shutdown of the server'))
  .split('\n')
  .filter((line) => /^\| (?!---|fault )/.test(line))
  .map((line) => line.slice(2, -2).split(' | '));

describe('the table of faults in docs/reliability.md', () => {
  it('has many faults', () => {
    expect(faults.length).toBeGreaterThan(20);
  });

  it.each(faults)('says what is seen and left of it, and names its test: %s', (...row) => {
    expect(row).toHaveLength(4);
    const [, file = '', title = ''] = /^`(test\/[^`]+)` "([^"]+)"$/.exec(row[3] ?? '') ?? [];
    expect(exists(file)).toBe(true);
    expect(textOf(file)).toContain(title);
    expect(concerns(FAULT_TESTS, file)).toBe(true);
  });

  // A directory of drills that no fault names would be forgotten.
  it('names every drill', () => {
    const unnamed = filesBelow('test/faults', '.test.ts').filter((file) => !page.includes(file));
    expect(unnamed).toEqual([]);
  });
});

it.each(Object.entries(FAULT_TESTS))('the tests of "%s" exist', (_drill, tests) => {
  const files = filesBelow('test', '.test.ts');
  for (const test of tests) expect(files.filter((file) => isAmong([test], file))).not.toEqual([]);
});

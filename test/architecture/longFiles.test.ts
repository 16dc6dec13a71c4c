/** The order of the test files names files that there are. */
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from '@jest/globals';
import { filesBelow, root } from './sourceTree.js';

const { LONG_FILES } = (await import(pathToFileURL(join(root, 'scripts/testing/longestFirst.mjs')).href)) as {
  readonly LONG_FILES: readonly string[];
};

it('each long test file exists', () => {
  const files = new Set(filesBelow('test', '.test.ts').map((path) => basename(path).split('.')[0]));
  expect(LONG_FILES.filter((name) => !files.has(name))).toEqual([]);
});

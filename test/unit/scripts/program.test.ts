/** How the output of test programs is counted. */
import { describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../architecture/sourceTree.js';

interface Counting {
  tallyOf(line: string): object;
}

const { tallyOf } = (await import(pathToFileURL(join(root, 'scripts/testing/program.mjs')).href)) as Counting;
const nothing = { passed: 0, failed: 0, skipped: 0 };

describe('a line of a test program', () => {
  it.each([
    ['1 passed, 0 failed, 2 skipped', { passed: 1, failed: 0, skipped: 2 }],
    ['FAILED ext4: lost', { ...nothing, failures: ['ext4: lost'] }],
    ['SKIPPED soak: no root', { ...nothing, skips: ['soak: no root'] }],
    ['18 images examined', nothing],
    ['about 1 passed, 0 failed, 0 skipped', nothing],
  ])('%s', (line, tally) => {
    expect(tallyOf(line)).toEqual(tally);
  });
});

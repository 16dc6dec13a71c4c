/** Fingerprints, which determine whether a step of the set-up is skipped. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../architecture/sourceTree.js';

interface Fingerprints {
  fingerprint(paths: readonly string[], more?: readonly string[]): string;
}

const { fingerprint } = (await import(
  pathToFileURL(join(root, 'scripts/support/fingerprint.mjs')).href
)) as Fingerprints;

let directory = '';
const file = (name: string) => join(directory, name);
const current = (...more: string[]) => fingerprint([relative(root, directory)], more);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fingerprint-'));
  mkdirSync(file('inner'));
  writeFileSync(file('a.ts'), 'one');
  writeFileSync(file('inner/b.ts'), 'two');
});
afterEach(() => rmSync(directory, { recursive: true }));

test('times do not count', () => {
  const before = current();
  utimesSync(file('a.ts'), 1, 1);
  expect(current()).toBe(before);
});

test('contents, names, presence and other values do', () => {
  const seen = [current(), current('another value')];
  writeFileSync(file('inner/b.ts'), 'twO');
  seen.push(current());
  writeFileSync(file('inner/c.ts'), '');
  seen.push(current());
  rmSync(file('inner'), { recursive: true });
  seen.push(current());
  expect(new Set(seen).size).toBe(seen.length);
});

test('a line moved from one file to the next is a change', () => {
  const before = current();
  writeFileSync(file('a.ts'), 'on');
  writeFileSync(file('inner/b.ts'), 'etwo');
  expect(current()).not.toBe(before);
});

test('something that does not exist has a fingerprint', () => {
  expect(fingerprint(['no-such-folder'])).toMatch(/^[0-9a-f]{64}$/);
});

/** The tests that SECURITY.md refers to exist, and `npm test -- security` runs them. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { exists, filesBelow, root, textOf } from './sourceTree.js';

interface SecurityTests {
  readonly SECURITY_TESTS: Readonly<Record<string, readonly string[]>>;
  readonly concernsSecurity: (file: string) => boolean;
}
const { SECURITY_TESTS, concernsSecurity } = (await import(
  pathToFileURL(join(root, 'scripts/testing/securityTests.mjs')).href
)) as SecurityTests;

const page = textOf('SECURITY.md');

/** The tests that it names: `file` "title". */
const named = [...page.matchAll(/`(test\/[^`]+)`\s+"([^"]+)"/g)].map(([, file = '', title = '']) => ({ file, title }));
/** The rows of its tables of attacks: the attempt, what stops it, and the test that shows it. */
const attacks = page
  .slice(page.indexOf('## A client'), page.indexOf('## The operator'))
  .split('\n')
  .filter((line) => /^\| (?!---|tries )/.test(line))
  .map((line) => line.slice(2, -2).split(' | '));

describe('SECURITY.md', () => {
  it('names many tests', () => {
    expect(named.length).toBeGreaterThan(40);
    expect(attacks.length).toBeGreaterThan(40);
  });

  it.each(named)('names a test that exists: $file "$title"', ({ file, title }) => {
    expect(exists(file)).toBe(true);
    expect(textOf(file)).toContain(title);
    expect(concernsSecurity(file)).toBe(true);
  });

  it.each(attacks)('names for each attack the test that shows that it fails: %s', (_tries, _stops, shown = '') => {
    expect(shown).toMatch(/^`test\/\S+` "[^"]+"$|^assumption$/);
  });
});

it.each(Object.entries(SECURITY_TESTS))('the tests of "%s" exist', (_point, tests) => {
  const files = filesBelow('test', '.test.ts');
  for (const test of tests) {
    const path = `test/${test}`;
    expect(files.filter((file) => file.startsWith(test.endsWith('/') ? path : `${path}.`))).not.toEqual([]);
  }
});

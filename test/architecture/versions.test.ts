/** One version: package.json states it, and everything else agrees. */
import { expect, test } from '@jest/globals';
import { SERVER_VERSION } from '../../src/common/version.js';
import { textOf } from './sourceTree.js';

const { version } = JSON.parse(textOf('package.json')) as { version: string };

test('the server has the version of package.json', () => {
  expect(SERVER_VERSION).toBe(version);
});

test('the npm package of the client has it, too', () => {
  expect(JSON.parse(textOf('clients/typescript/package.json'))).toMatchObject({ version });
});

test('the lock file has it, too', () => {
  const lock = JSON.parse(textOf('package-lock.json')) as { version: string; packages: { '': { version: string } } };
  expect([lock.version, lock.packages[''].version]).toEqual([version, version]);
});

test('the changelog has an Unreleased section, then the dated releases, the current version first', () => {
  const headings = [...textOf('CHANGELOG.md').matchAll(/^## (.*)$/gm)].map(([, heading = '']) => heading);
  const [unreleased, ...releases] = headings;
  expect(unreleased).toBe('[Unreleased]');
  expect(releases.filter((heading) => !/^\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$/.test(heading))).toEqual([]);
  expect(releases[0]).toMatch(new RegExp(`^\\[${version.replaceAll('.', '\\.')}\\] `));
});

/** The commands of package.json run files that there are. */
import { expect, test } from '@jest/globals';
import { exists, textOf } from './sourceTree.js';

const { scripts } = JSON.parse(textOf('package.json')) as { readonly scripts: Readonly<Record<string, string>> };
const files = Object.entries(scripts).flatMap(([name, command]) =>
  [...command.matchAll(/\bscripts\/\S+\.mjs\b/g)].map(([file]) => [name, file] as const),
);

test.each(files)('npm run %s runs %s, which exists', (_, file) => {
  expect(exists(file)).toBe(true);
});

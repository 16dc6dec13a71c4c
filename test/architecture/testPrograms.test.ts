/** Test programs run without Jest: nothing that they import, directly or not, may need it. */
import { expect, test } from '@jest/globals';
import { exists, filesBelow, importsOf } from './sourceTree.js';

const programs = filesBelow('test', '/main.ts');

/** A way from a file to one that imports Jest; undefined if there is none. */
function wayToJest(path: string, seen = new Set<string>()): string[] | undefined {
  if (seen.has(path) || !exists(path)) return undefined;
  seen.add(path);
  const { files, packages } = importsOf(path);
  if (packages.includes('@jest/globals')) return [path];
  for (const file of files) {
    const rest = wayToJest(file, seen);
    if (rest !== undefined) return [path, ...rest];
  }
  return undefined;
}

test('there are test programs', () => {
  expect(programs).toEqual(expect.arrayContaining(['test/durability/main.ts', 'test/soak/main.ts']));
});

test.each(programs)('%s needs no Jest', (path) => {
  expect(wayToJest(path)).toBeUndefined();
});

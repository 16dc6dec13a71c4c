/** The script that installs packages knows what the appliance builder needs before that is compiled. */
import { expect, test } from '@jest/globals';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { hostPackages, unprivilegedHostPackages } from '../../appliance-builder/hostPackages.js';
import { root } from './sourceTree.js';

interface PackageList {
  packagesFor(purposes: readonly string[]): readonly { readonly name: string }[];
}

test.each([
  ['appliance', hostPackages],
  ['applianceAsUser', unprivilegedHostPackages],
])('scripts/packages.mjs lists the packages for %s', async (purpose, needed) => {
  const list = (await import(pathToFileURL(join(root, 'scripts/packages.mjs')).href)) as PackageList;
  expect(
    list
      .packagesFor([purpose])
      .map(({ name }) => name)
      .sort(),
  ).toEqual([...needed].sort());
});

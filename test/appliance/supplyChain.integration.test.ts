/** The supply chain of the built appliances: their packages, licences and bill of materials, and no build date. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { readManifest } from '../../appliance-builder/manifest.js';
import { root } from '../architecture/sourceTree.js';
import { builtAppliance, describeWhen } from '../support/appliance.js';

interface AppliancePackage {
  readonly name: string;
  readonly version: string;
}
const script = (path: string): string => pathToFileURL(join(root, 'scripts', 'supply', path)).href;
const { appliancePackages } = (await import(script('appliancePackages.mjs'))) as {
  appliancePackages(directory: string): AppliancePackage[];
};
const { refusedAppliancePackages } = (await import(script('allowedLicences.mjs'))) as {
  refusedAppliancePackages(packages: readonly AppliancePackage[]): string[];
};
const { applianceSbom } = (await import(script('applianceSbom.mjs'))) as {
  applianceSbom(manifest: object, packages: readonly AppliancePackage[]): string;
};
const { problemOf } = (await import(script('cyclonedx.mjs'))) as {
  problemOf(text: string): Promise<string | undefined>;
};

const DAY_SECONDS = 24 * 60 * 60;

describe.each(['trixie', 'bookworm'])('the appliance of %s', (suite) => {
  const directory = builtAppliance(suite) ?? '';
  const missing = directory === '' ? `there is no appliance: npm run appliance -- --suite ${suite}` : undefined;
  describeWhen('is documented', missing, () => {
    it('has a copyright file and allowed licences for each package of its manifest', async () => {
      const packages = appliancePackages(directory);
      const manifest = await readManifest(directory);
      expect(Object.fromEntries(packages.map(({ name, version }) => [name, version]))).toEqual(manifest?.packages);
      expect(refusedAppliancePackages(packages)).toEqual([]);
    });

    it('has a bill of materials that is CycloneDX', async () => {
      const manifest = (await readManifest(directory)) ?? {};
      expect(await problemOf(applianceSbom(manifest, appliancePackages(directory)))).toBeUndefined();
    });

    it('does not contain its build date: passwords are as old as its kernel', async () => {
      const shadow = execFileSync('debugfs', ['-R', 'cat /etc/shadow', join(directory, 'root')], { encoding: 'utf8' });
      const days = new Set(shadow.split('\n').map((line) => line.split(':')[2]));
      days.delete(undefined);
      const sourceDate = new Date((await readManifest(directory))?.sourceDate ?? '').getTime() / 1000;
      expect([...days]).toEqual([String(Math.floor(sourceDate / DAY_SECONDS))]);
    });
  });
});

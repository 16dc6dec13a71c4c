/** Which appliance `npm run sbom` and `npm run licences` look at. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { applianceDirectory } from '../setup/appliance.mjs';
import { setUpServer } from '../setup/setUp.mjs';

/**
 * Sets up what is needed, and finds the appliance: that of `--appliance DIR`, or the default one, which is built if it
 * is not up to date.
 * @param {readonly string[]} args
 * @returns {Promise<string>} Its directory.
 */
export async function wantedAppliance(args) {
  const { values } = parseArgs({ args: [...args], options: { appliance: { type: 'string' } } });
  await setUpServer({ appliance: values.appliance === undefined });
  return values.appliance === undefined ? applianceDirectory() : resolve(values.appliance);
}

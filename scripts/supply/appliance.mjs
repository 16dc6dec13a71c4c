/** Determines which appliance `npm run sbom` and `npm run licences` examine. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { applianceDirectory } from '../setup/appliance.mjs';
import { setUpServer } from '../setup/setUp.mjs';
import { StepFailed } from '../support/run.mjs';

/**
 * Sets up what is needed, and finds the appliance: the one given with `--appliance DIR`, or the default one, which is
 * built if it is not up to date.
 * @param {readonly string[]} args
 * @returns {Promise<string>} Its directory.
 */
export async function wantedAppliance(args) {
  const asked = askedAppliance(args);
  await setUpServer({ appliance: asked === undefined });
  return asked === undefined ? applianceDirectory() : resolve(asked);
}

/** @param {readonly string[]} args */
function askedAppliance(args) {
  try {
    return parseArgs({ args: [...args], options: { appliance: { type: 'string' } } }).values.appliance;
  } catch (error) {
    throw new StepFailed(`${error instanceof Error ? error.message : String(error)}; the only flag is --appliance DIR`);
  }
}

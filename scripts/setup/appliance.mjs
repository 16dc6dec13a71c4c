/** Builds the default appliance, with the project's own appliance builder. */
import { inProject } from '../support/project.mjs';
import { run } from '../support/run.mjs';

/** The Debian release that the default appliance is built from. */
export const DEFAULT_SUITE = 'trixie';

/**
 * Where the appliance of a suite is kept.
 * @param {string} suite
 * @returns {Promise<string>}
 */
export async function applianceDirectory(suite) {
  /** @type {{ defaultApplianceDirectory(suite: string): string }} */
  const location = await import(inProject('dist', 'appliance-builder', 'location.js'));
  return location.defaultApplianceDirectory(suite);
}

/**
 * Makes sure that the appliance of a suite exists and is up to date. The builder decides whether it is, and reports
 * what it does.
 * @param {string} [suite]
 */
export async function ensureAppliance(suite = DEFAULT_SUITE) {
  const directory = await applianceDirectory(suite);
  await run([
    process.execPath,
    inProject('dist', 'appliance-builder', 'main.js'),
    '--suite',
    suite,
    '--output',
    directory,
  ]);
  return directory;
}

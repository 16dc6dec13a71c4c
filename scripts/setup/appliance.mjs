/** Builds the default appliance, with the project's own appliance builder. */
import { inProject } from '../support/project.mjs';
import { run } from '../support/run.mjs';

/**
 * Where the appliance of a suite is kept.
 * @param {string} [suite] the builder's default when left out
 * @returns {Promise<string>}
 */
export async function applianceDirectory(suite) {
  /** @type {{ DEFAULT_SUITE: string }} */
  const { DEFAULT_SUITE } = await import(inProject('dist', 'appliance-builder', 'suite.js'));
  /** @type {{ defaultApplianceDirectory(suite: string): string }} */
  const location = await import(inProject('dist', 'appliance-builder', 'location.js'));
  return location.defaultApplianceDirectory(suite ?? DEFAULT_SUITE);
}

/**
 * Makes sure that the appliance of a suite exists and is up to date. The builder decides whether it is, and reports
 * what it does.
 * @param {string} [suite] the builder's default when left out
 */
export async function ensureAppliance(suite) {
  const directory = await applianceDirectory(suite);
  await run([
    process.execPath,
    inProject('dist', 'appliance-builder', 'main.js'),
    ...(suite === undefined ? [] : ['--suite', suite]),
    '--output',
    directory,
  ]);
  return directory;
}

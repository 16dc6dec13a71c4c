/** Finds out what the server lacks, without changing anything: for `npm start -- --no-setup`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packagesFor } from '../packages.mjs';
import { inProject } from '../support/project.mjs';
import { isInstalled, StepFailed } from '../support/run.mjs';
import { applianceDirectory } from './appliance.mjs';
import { missingNodePackages } from './nodePackages.mjs';

/**
 * What this host has.
 * @typedef {object} Findings
 * @property {(program: string) => boolean} hasProgram
 * @property {readonly string[]} missingNodePackages Folders of npm packages that the server needs.
 * @property {boolean} built Whether the server is compiled.
 * @property {{ directory: string, complete: boolean } | undefined} appliance The default appliance; undefined if
 *   there is no compiled code that knows where it belongs.
 */

/**
 * What the server needs from this host and does not find, one line each, with the way to get it.
 * @param {{ ownAppliance: boolean, ownQemu: boolean }} brought What the user brings along.
 * @param {Findings} found
 * @returns {string[]}
 */
export function missingForServer({ ownAppliance, ownQemu }, found) {
  const missing = packagesFor(['server']).flatMap(({ name, why, programs = [] }) =>
    programs
      .filter((program) => !found.hasProgram(program) && !(ownQemu && program.startsWith('qemu-system-')))
      .map((program) => `the program ${program} (${why}): install Debian's package ${name}`),
  );
  if (found.missingNodePackages.length > 0) {
    const [first = '', ...more] = found.missingNodePackages;
    const others = more.length === 0 ? '' : ` and ${more.length} more`;
    missing.push(`npm packages (${first}${others}): npm ci --ignore-scripts`);
  }
  if (!found.built) missing.push('the compiled server: npm run build');
  if (!ownAppliance && found.appliance?.complete === false)
    missing.push(
      `an appliance in ${found.appliance.directory}: npm run appliance, or give another one with --appliance DIR`,
    );
  return missing;
}

/** @returns {Promise<Findings>} */
async function look() {
  const built =
    existsSync(inProject('dist', 'src', 'cli', 'main.js')) &&
    existsSync(inProject('gen', 'proto', 'descriptors.binpb'));
  const directory = existsSync(inProject('dist', 'appliance-builder', 'location.js'))
    ? await applianceDirectory()
    : undefined;
  return {
    hasProgram: isInstalled,
    missingNodePackages: missingNodePackages(),
    built,
    appliance:
      directory === undefined ? undefined : { directory, complete: existsSync(join(directory, 'README.fixed')) },
  };
}

/**
 * Checks that the server can start without set-up.
 * @param {{ ownAppliance: boolean }} brought
 * @throws {StepFailed} naming what is missing and how to get it
 */
export async function requireServer({ ownAppliance }) {
  const missing = missingForServer({ ownAppliance, ownQemu: Boolean(process.env.LIBGUESTFS_HV) }, await look());
  if (missing.length === 0) return;
  throw new StepFailed(
    `the server cannot start without set-up. Missing:\n${missing.map((line) => `  ${line}\n`).join('')}` +
      'npm run setup installs everything.',
  );
}

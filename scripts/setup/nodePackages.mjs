/** Installs the npm packages when they are not the ones that package-lock.json asks for. */
import { readFileSync } from 'node:fs';
import { inProject } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

/**
 * @typedef {object} LockedPackage
 * @property {string} [version]
 * @property {boolean} [optional]
 */

/**
 * The packages of a lock file, by the folder they are in.
 * @param {string} path
 * @returns {Map<string, LockedPackage>}
 */
function lockedPackages(path) {
  /** @type {{ packages: Record<string, LockedPackage> }} */
  const lock = JSON.parse(readFileSync(path, 'utf8'));
  return new Map(Object.entries(lock.packages).filter(([folder]) => folder !== ''));
}

/** True if node_modules holds what package-lock.json asks for, by npm's own record of what it installed. */
function upToDate() {
  const asked = lockedPackages(inProject('package-lock.json'));
  /** @type {Map<string, LockedPackage>} */
  let installed;
  try {
    installed = lockedPackages(inProject('node_modules', '.package-lock.json'));
  } catch {
    return false;
  }
  // Packages for other systems are asked for and not installed.
  const complete = [...asked].every(([folder, { optional }]) => optional === true || installed.has(folder));
  return complete && [...installed].every(([folder, { version }]) => asked.get(folder)?.version === version);
}

/** Makes sure that the npm packages are installed. */
export async function ensureNodePackages() {
  if (upToDate()) return;
  say('installing npm packages (npm ci)');
  // None of them needs its install script: the ones that have one bring their binaries as packages.
  await run(['npm', 'ci', '--ignore-scripts']);
}

/** Installs the npm packages unless they are the ones in package-lock.json. */
import { existsSync, readFileSync } from 'node:fs';
import { inProject } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

/**
 * @typedef {object} LockedPackage
 * @property {string} [version]
 * @property {boolean} [optional]
 * @property {boolean} [dev]
 * @property {boolean} [devOptional]
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

/** True if node_modules matches package-lock.json, according to npm's own record of what it installed. */
function upToDate() {
  const asked = lockedPackages(inProject('package-lock.json'));
  /** @type {Map<string, LockedPackage>} */
  let installed;
  try {
    installed = lockedPackages(inProject('node_modules', '.package-lock.json'));
  } catch {
    return false;
  }
  // Packages for other platforms are in the lock file but not installed.
  const complete = [...asked].every(([folder, { optional }]) => optional === true || installed.has(folder));
  return complete && [...installed].every(([folder, { version }]) => asked.get(folder)?.version === version);
}

/** Folders of the npm packages that the server needs to run, and that are not installed. */
export function missingNodePackages() {
  const needed = [...lockedPackages(inProject('package-lock.json'))].filter(
    ([, { optional, dev, devOptional }]) => !optional && !dev && !devOptional,
  );
  return needed.map(([folder]) => folder).filter((folder) => !existsSync(inProject(folder, 'package.json')));
}

/** Makes sure that the npm packages are installed. */
export async function ensureNodePackages() {
  if (upToDate()) return;
  say('installing npm packages (npm ci)');
  // None of them needs its install script: those that have one ship their binaries as packages.
  await run(['npm', 'ci', '--ignore-scripts']);
}

/** The npm packages that the server needs at run time, and their licences. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inProject } from '../support/project.mjs';

/**
 * @typedef {object} ServerPackage
 * @property {string} name
 * @property {string} version
 * @property {string} [licence] An SPDX expression.
 * @property {string} folder Its path, relative to the project's root.
 */

/**
 * The packages in package-lock.json, without those for development, in alphabetical order. One that is in several
 * folders with the same version is listed once.
 * @returns {ServerPackage[]}
 */
export function serverPackages() {
  /** @type {{ packages: Record<string, { version: string, license?: string, dev?: boolean, devOptional?: boolean }> }} */
  const { packages } = JSON.parse(readFileSync(inProject('package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([folder, { dev, devOptional }]) => folder !== '' && !dev && !devOptional)
    .map(([folder, { version, license }]) => ({
      name: folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      licence: license,
      folder,
    }))
    .filter(({ name, version }, at, all) => all.findIndex((o) => o.name === name && o.version === version) === at)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * The licence texts and notices in an installed package.
 * @param {ServerPackage} entry
 */
export function licenceTexts({ folder }) {
  return readdirSync(inProject(folder))
    .filter((name) => /^(licen[cs]e|copying|notice)/i.test(name))
    .sort()
    .map((name) => readFileSync(join(inProject(folder), name), 'utf8').trimEnd());
}

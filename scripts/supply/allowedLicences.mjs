/**
 * The licences that the project accepts, by SPDX identifiers. To accept one more is a decision: read it first.
 */
import { SPDX } from '@cyclonedx/cyclonedx-library';
import parseExpression from 'spdx-expression-parse';

/** Of npm packages, which are part of the server's process: permissive ones. */
const NPM = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Python-2.0',
  'Unlicense',
  'Zlib',
]);

/** Of Debian packages, which are programs of their own in the appliance: free ones, copyleft included. */
const DEBIAN = new Set([
  ...NPM,
  ...['1.0', '2.0', '3.0'].flatMap((version) => [`GPL-${version}-only`, `GPL-${version}-or-later`]),
  ...['2.0', '2.1', '3.0'].flatMap((version) => [`LGPL-${version}-only`, `LGPL-${version}-or-later`]),
  ...['1.1', '1.2', '1.3'].flatMap((version) => [
    `GFDL-${version}-only`,
    `GFDL-${version}-or-later`,
    `GFDL-${version}-no-invariants-only`,
    `GFDL-${version}-no-invariants-or-later`,
  ]),
  'AFL-2.0',
  'AFL-2.1',
  'Artistic-1.0',
  'Artistic-1.0-Perl',
  'Artistic-2.0',
  'Artistic-dist',
  'Beerware',
  'BSD-2-Clause-NetBSD',
  'BSD-3-Clause-Attribution',
  'BSD-4-Clause',
  'BSD-4-Clause-UC',
  'BSL-1.0',
  'bzip2-1.0.6',
  'CC-BY-3.0',
  'CC-BY-4.0',
  'CC-BY-SA-3.0',
  'CC-BY-SA-4.0',
  'CPL-1.0',
  'curl',
  'FSFAP',
  'FSFUL',
  'FSFULLR',
  'FTL',
  'IJG',
  'Kazlib',
  'Latex2e',
  'Libpng',
  'libutil-David-Nugent',
  'MIT-CMU',
  'MIT-Modern-Variant',
  'MPL-1.1',
  'MPL-2.0',
  'MS-PL',
  'OLDAP-2.8',
  'OpenSSL',
  'PostgreSQL',
  'PSF-2.0',
  'RSA-MD',
  'Sendmail',
  'Sleepycat',
  'SMAIL-GPL',
  'snprintf',
  'Spencer-86',
  'SunPro',
  'Unicode-DFS-2016',
  'X11',
]);

/**
 * Whether an SPDX expression can be satisfied with allowed licences.
 * @param {import('spdx-expression-parse').Info} info
 * @returns {boolean}
 */
function isAllowed(info) {
  if ('conjunction' in info) {
    const sides = [info.left, info.right];
    return info.conjunction === 'and' ? sides.every(isAllowed) : sides.some(isAllowed);
  }
  return NPM.has(info.license) && info.plus !== true;
}

/**
 * Why the licences of npm packages cannot be accepted, one line each; none if they can.
 * @param {readonly import('./serverPackages.mjs').ServerPackage[]} packages
 */
export function refusedServerPackages(packages) {
  return packages.flatMap(({ name, version, licence }) => {
    if (licence === undefined) return [`${name} ${version} states no licence`];
    try {
      return isAllowed(parseExpression(licence)) ? [] : [`${name} ${version}: ${licence} is not on the list`];
    } catch {
      return [`${name} ${version}: ${licence} is no SPDX expression`];
    }
  });
}

/**
 * Why the licences of Debian packages cannot be accepted. Licences that have no SPDX identifier are accepted: the
 * builder takes packages from Debian's section `main` alone, where all is free by Debian's guidelines.
 * @param {readonly import('./appliancePackages.mjs').AppliancePackage[]} packages
 */
export function refusedAppliancePackages(packages) {
  return packages.flatMap(({ name, version, copyrightFile, licences }) => {
    if (copyrightFile === undefined) return [`${name} ${version} has no copyright file in the appliance`];
    if (licences.length === 0) return [`${name} ${version}: no licence is found in ${copyrightFile}`];
    return licences
      .filter((licence) => SPDX.isSupportedSpdxId(licence) && !DEBIAN.has(licence))
      .map((licence) => `${name} ${version}: ${licence} is not on the list`);
  });
}

/**
 * The licences that the project accepts, by SPDX identifier. Read a licence before you add it.
 */
import { SPDX } from '@cyclonedx/cyclonedx-library';
import parseExpression from 'spdx-expression-parse';

/** For npm packages, which become part of the server's process: permissive licences. */
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

/** For Debian packages, which are separate programs in the appliance: free licences, copyleft included. */
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
 * Lists npm packages whose licence is not accepted, with the reason, one line each.
 * @param {readonly import('./serverPackages.mjs').ServerPackage[]} packages
 */
export function refusedServerPackages(packages) {
  return packages.flatMap(({ name, version, licence }) => {
    if (licence === undefined) return [`${name} ${version} states no licence`];
    try {
      return isAllowed(parseExpression(licence)) ? [] : [`${name} ${version}: ${licence} is not on the list`];
    } catch {
      return [`${name} ${version}: ${licence} is not an SPDX expression`];
    }
  });
}

/**
 * Lists Debian packages whose licences are not accepted, with the reasons. Licences without an SPDX identifier are
 * accepted: the builder takes packages only from Debian's section `main`, where everything is free according to
 * Debian's guidelines.
 * @param {readonly import('./appliancePackages.mjs').AppliancePackage[]} packages
 */
export function refusedAppliancePackages(packages) {
  return packages.flatMap(({ name, version, copyrightFile, licences }) => {
    if (copyrightFile === undefined) return [`${name} ${version} has no copyright file in the appliance`];
    if (licences.length === 0) return [`${name} ${version}: no licence was found in ${copyrightFile}`];
    return licences
      .filter((licence) => SPDX.isSupportedSpdxId(licence) && !DEBIAN.has(licence))
      .map((licence) => `${name} ${version}: ${licence} is not on the list`);
  });
}

/** A readable list of the third-party software and its licences. */
import { licenceTexts } from './serverPackages.mjs';

const RULE = '-'.repeat(80);

/**
 * The npm packages, with the texts of their licences.
 * @param {readonly import('./serverPackages.mjs').ServerPackage[]} packages
 */
export function serverLicences(packages) {
  const list = packages.map((entry) => `${entry.name} ${entry.version}: ${entry.licence ?? 'no licence stated'}`);
  const texts = packages.flatMap((entry) =>
    licenceTexts(entry).map((text) => `${RULE}\n${entry.name} ${entry.version}\n${RULE}\n${text}\n`),
  );
  return `npm packages of the server\n\n${list.join('\n')}\n\n${texts.join('\n')}`;
}

/**
 * The packages of an appliance; the licence texts are in the appliance.
 * @param {import('./appliancePackages.mjs').Manifest} manifest
 * @param {readonly import('./appliancePackages.mjs').AppliancePackage[]} packages
 */
export function applianceLicences({ suite }, packages) {
  const list = packages.map(
    ({ name, version, licences, copyrightFile }) =>
      `${name} ${version}: ${licences.join(', ') || 'unknown'}\n    ${copyrightFile ?? 'no copyright file'}`,
  );
  return (
    `Debian packages of the appliance (${suite})\n\n` +
    "The texts are in the appliance's root file system, in the files named below, and in\n" +
    `/usr/share/common-licenses. The licences are those of all parts of a source package.\n\n${list.join('\n')}\n`
  );
}

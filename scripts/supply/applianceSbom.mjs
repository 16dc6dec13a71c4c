/** The bill of materials of an appliance: its files, and the Debian packages in them. */
import { Enums, Models, SPDX } from '@cyclonedx/cyclonedx-library';
import { PackageURL } from 'packageurl-js';
import { serialize } from './cyclonedx.mjs';

/** @param {string} licence */
function licenceOf(licence) {
  return SPDX.isSupportedSpdxId(licence) ? new Models.SpdxLicense(licence) : new Models.NamedLicense(licence);
}

/**
 * @param {import('./appliancePackages.mjs').AppliancePackage} entry
 * @param {import('./appliancePackages.mjs').Manifest} manifest
 */
function packageComponent({ name, version, source, homepage, description, licences }, { architecture, suite }) {
  const purl = new PackageURL('deb', 'debian', name, version, { arch: architecture, distro: suite }, undefined);
  return new Models.Component(Enums.ComponentType.Library, name, {
    bomRef: purl.toString(),
    version,
    description,
    purl: purl.toString(),
    licenses: new Models.LicenseRepository(licences.map(licenceOf)),
    externalReferences: new Models.ExternalReferenceRepository(
      homepage === undefined ? [] : [new Models.ExternalReference(homepage, Enums.ExternalReferenceType.Website)],
    ),
    properties: new Models.PropertyRepository([new Models.Property('debian:source', source)]),
  });
}

/**
 * Creates the document. It depends on nothing but the appliance, so its timestamp is the appliance's.
 * @param {import('./appliancePackages.mjs').Manifest} manifest
 * @param {readonly import('./appliancePackages.mjs').AppliancePackage[]} packages
 * @returns {string} A CycloneDX document.
 */
export function applianceSbom(manifest, packages) {
  const files = Object.entries(manifest.files).map(
    ([name, { sha256 }]) =>
      new Models.Component(Enums.ComponentType.File, name, {
        bomRef: `file:${name}`,
        hashes: new Models.HashDictionary([[Enums.HashAlgorithm['SHA-256'], sha256]]),
      }),
  );
  const components = packages.map((entry) => packageComponent(entry, manifest));
  const appliance = new Models.Component(Enums.ComponentType.OperatingSystem, 'guestfs-grpc-appliance', {
    bomRef: 'appliance',
    version: `${manifest.suite}-${manifest.daemonVersion}`,
    description: `Debian ${manifest.suite}, guestfsd ${manifest.daemonVersion}, Linux ${manifest.kernelVersion}`,
    components: new Models.ComponentRepository(files),
    dependencies: new Models.BomRefRepository(components.map(({ bomRef }) => bomRef)),
  });
  return serialize(
    new Models.Bom({
      // Different for each appliance, like the UUID of its file system.
      serialNumber: `urn:uuid:${manifest.rootUuid}`,
      metadata: new Models.Metadata({ timestamp: new Date(manifest.sourceDate), component: appliance }),
      components: new Models.ComponentRepository(components),
    }),
  );
}

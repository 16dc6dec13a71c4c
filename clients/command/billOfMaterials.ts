/**
 * A report as a bill of materials (CycloneDX 1.6), which scanners for vulnerabilities take: the image, the operating
 * systems on it, and their packages with package URLs. Everything in it is what the image claims.
 */
import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { PackageURL } from 'packageurl-js';
import type { FoundApplication, FoundSystem, Report } from './report.js';

/** Prefix of the properties that have no field of their own in CycloneDX. */
const PROPERTY = 'guestfs-grpc:';

/** What the report is of, and when it was made. */
export interface Subject {
  /** The images' names, in their order. */
  readonly images: readonly string[];
  readonly at: Date;
}

function properties(facts: Readonly<Record<string, string>>): Models.PropertyRepository {
  const known = Object.entries(facts).filter(([, value]) => value !== '' && value !== 'unknown');
  return new Models.PropertyRepository(known.map(([name, value]) => new Models.Property(`${PROPERTY}${name}`, value)));
}

/** A link to a web page; a guest can claim anything as such. */
function website(text: string): Models.ExternalReferenceRepository {
  const link = URL.canParse(text) ? new URL(text) : undefined;
  const web = link !== undefined && ['http:', 'https:'].includes(link.protocol);
  return new Models.ExternalReferenceRepository(
    web ? [new Models.ExternalReference(link.href, Enums.ExternalReferenceType.Website)] : [],
  );
}

/** The package URL, if it is one. */
function packageUrl(text: string): string | undefined {
  try {
    return text === '' ? undefined : PackageURL.fromString(text).toString();
  } catch {
    return undefined;
  }
}

/** The version as package managers write it: `epoch:version-release`. */
export function fullVersion({
  app2_epoch: epoch,
  app2_version: version,
  app2_release: release,
}: FoundApplication): string {
  return `${epoch > 0 ? `${epoch}:` : ''}${version}${release === '' ? '' : `-${release}`}`;
}

function componentOf(application: FoundApplication, reference: string): Models.Component {
  const purl = packageUrl(application.package_url);
  // What has no type of package URL are installed programs, as those of Windows.
  const type = purl === undefined ? Enums.ComponentType.Application : Enums.ComponentType.Library;
  return new Models.Component(type, application.app2_name || application.app2_display_name, {
    bomRef: reference,
    version: fullVersion(application),
    description: application.app2_summary || undefined,
    publisher: application.app2_publisher || undefined,
    purl,
    externalReferences: website(application.app2_url),
    properties: properties({
      architecture: application.app2_arch,
      'source-package': application.app2_source_package,
      'install-path': application.app2_install_path,
    }),
  });
}

function versionOf({ version, major_version: major, minor_version: minor }: FoundSystem): string {
  return version || `${major}.${minor}`;
}

/** The system; it depends on its packages. */
function systemOf(system: FoundSystem, reference: string, packages: readonly Models.Component[]): Models.Component {
  const name = system.distro === '' || system.distro === 'unknown' ? system.type : system.distro;
  return new Models.Component(Enums.ComponentType.OperatingSystem, name, {
    bomRef: reference,
    version: versionOf(system),
    description: system.product_name || undefined,
    dependencies: new Models.BomRefRepository(packages.map(({ bomRef }) => bomRef)),
    properties: properties({
      root: system.root,
      directory: system.directory,
      hostname: system.hostname,
      architecture: system.arch,
      codename: system.codename,
      'support-end': system.support_end,
    }),
  });
}

/** @returns a CycloneDX document in JSON. */
export function billOfMaterials({ systems, warnings }: Report, { images, at }: Subject): string {
  const found = systems.map((system, number) => {
    const packages = system.applications.map((one, index) => componentOf(one, `system-${number}/package-${index}`));
    return { system: systemOf(system, `system-${number}`, packages), packages };
  });
  const incomplete = [...warnings, ...systems.flatMap((system) => system.warnings)];
  const image = new Models.Component(Enums.ComponentType.File, images.join(', '), {
    bomRef: 'image',
    dependencies: new Models.BomRefRepository(found.map(({ system }) => system.bomRef)),
    properties: new Models.PropertyRepository(
      incomplete.map(
        ({ field, reason, message }) => new Models.Property(`${PROPERTY}incomplete`, `${field}: ${reason}: ${message}`),
      ),
    ),
  });
  const bom = new Models.Bom({
    metadata: new Models.Metadata({ timestamp: at, component: image }),
    components: new Models.ComponentRepository(found.flatMap(({ system, packages }) => [system, ...packages])),
  });
  const factory = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  return `${new Serialize.JsonSerializer(factory).serialize(bom, { sortLists: false, space: 2 })}\n`;
}

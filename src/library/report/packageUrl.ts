/** Package URLs (purl) of applications, by which scanners look up vulnerabilities. */
import { PackageURL } from 'packageurl-js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { PackageFormat } from '../applications/index.js';

/** What the URLs of a system's packages have in common. */
export interface PackageContext {
  readonly format: PackageFormat | undefined;
  /** ID of the distribution in os-release, which is the namespace. */
  readonly id: string;
  /** VERSION_ID of os-release. */
  readonly version: string;
}

/** Types of package URLs. */
const TYPES: Readonly<Record<PackageFormat, string>> = { deb: 'deb', rpm: 'rpm', apk: 'apk', pacman: 'alpm' };

/** The version as the package manager writes it, without an epoch, which rpm has apart. */
function versionOf({ app2_version: version, app2_release: release }: Application2, format: PackageFormat): string {
  if (release === '') return version;
  return format === 'apk' ? `${version}-r${release}` : `${version}-${release}`;
}

/** The package URL of an application; empty if it is no package. */
export function packageUrl(application: Application2, { format, id, version: systemVersion }: PackageContext): string {
  if (format === undefined || application.app2_name === '') return '';
  const { app2_epoch: epoch, app2_arch: arch } = application;
  const version = versionOf(application, format);
  const qualifiers: Record<string, string> = {};
  if (arch !== '') qualifiers['arch'] = arch;
  if (id !== '' && format !== 'pacman') qualifiers['distro'] = systemVersion === '' ? id : `${id}-${systemVersion}`;
  if (epoch !== 0 && format === 'rpm') qualifiers['epoch'] = String(epoch);
  const withEpoch = epoch !== 0 && format !== 'rpm' ? `${epoch}:${version}` : version;
  return new PackageURL(
    TYPES[format],
    id === '' ? undefined : id,
    application.app2_name,
    version === '' ? undefined : withEpoch,
    qualifiers,
    undefined,
  ).toString();
}

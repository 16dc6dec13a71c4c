/** Names of distributions: libguestfs's for the IDs of os-release, and the formats of their packages. */
import type { PackageFormat } from '../applications/index.js';
import type { Release } from './release.js';

/** Where libguestfs's name is another one. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ['alpine', 'alpinelinux'],
  ['arch', 'archlinux'],
  ['kali', 'kalilinux'],
  ['ol', 'oraclelinux'],
  ['openEuler', 'openeuler'],
  ['pld', 'pldlinux'],
  ['sled', 'sles'],
  ['void', 'voidlinux'],
]);

/** libguestfs's name of a distribution; one that it does not know has its own ID. */
export function distroName(id: string): string {
  if (id.startsWith('opensuse-')) return 'opensuse';
  return NAMES.get(id) ?? id;
}

const FORMATS: ReadonlyMap<string, PackageFormat> = new Map([
  ...[
    'fedora',
    'rhel',
    'centos',
    'suse',
    'opensuse',
    'sles',
    'mageia',
    'mandriva',
    'amzn',
    'azurelinux',
    'mariner',
    'ol',
  ].map((id) => [id, 'rpm'] as const),
  ...['debian', 'ubuntu'].map((id) => [id, 'deb'] as const),
  ...['alpine', 'wolfi', 'chainguard', 'postmarketos'].map((id) => [id, 'apk'] as const),
  ...['arch', 'archlinux'].map((id) => [id, 'pacman'] as const),
]);

/** The format of the packages of a distribution, by its own ID and those that it derives from. */
export function formatOf({ id, idLike }: Release): PackageFormat | undefined {
  for (const one of [id, ...idLike]) {
    const format = FORMATS.get(one);
    if (format !== undefined) return format;
  }
  return undefined;
}

/** The usual package manager for a format; libguestfs's names. */
export function managerFor(format: PackageFormat, release: Release): string {
  switch (format) {
    case 'deb':
      return 'apt';
    case 'rpm':
      return [release.id, ...release.idLike].some((id) => /suse|sles/.test(id)) ? 'zypper' : 'dnf';
    default:
      return format;
  }
}

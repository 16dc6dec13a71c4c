/** The format of a system's packages: by the distribution, if libguestfs or os-release know it, or by the database that is there. */
import { isDir, isFile } from '../../../gen/calls/file.js';
import { isPackageFormat, type PackageFormat } from '../applications/index.js';
import { unlessDaemonFails } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';
import { formatOf } from './distros.js';
import type { Release } from './release.js';

/** Databases, in the order in which they are looked for. */
const DATABASES: readonly (readonly [path: string, kind: 'file' | 'directory', format: PackageFormat])[] = [
  ['/var/lib/dpkg/status', 'file', 'deb'],
  ['/var/lib/dpkg/status.d', 'directory', 'deb'],
  ['/usr/lib/sysimage/rpm', 'directory', 'rpm'],
  ['/usr/share/rpm', 'directory', 'rpm'],
  ['/var/lib/rpm/rpmdb.sqlite', 'file', 'rpm'],
  ['/var/lib/rpm/Packages.db', 'file', 'rpm'],
  ['/var/lib/rpm/Packages', 'file', 'rpm'],
  ['/lib/apk/db/installed', 'file', 'apk'],
  ['/var/lib/pacman/local', 'directory', 'pacman'],
];

async function isThere(actions: ActionCalls, path: string, kind: 'file' | 'directory'): Promise<boolean> {
  const request = { path, followsymlinks: true };
  if (kind === 'file') return (await unlessDaemonFails(actions.call(isFile, request)))?.fileflag === true;
  return (await unlessDaemonFails(actions.call(isDir, request)))?.dirflag === true;
}

/**
 * The formats that the packages of the mounted system may have, likeliest first: looked for only as long as they are asked
 * for. A database can be empty or missing where the distribution would have one, and full beside it.
 * @param stated the daemon's answer
 */
export async function* likelyFormats(
  actions: ActionCalls,
  stated: string,
  release: Release | undefined,
): AsyncGenerator<PackageFormat, void> {
  // One that cannot be read, such as ebuild: there is no other database beside it.
  if (stated !== '' && stated !== 'unknown' && !isPackageFormat(stated)) return;
  const given = new Set<PackageFormat>();
  const usual = isPackageFormat(stated) ? stated : release === undefined ? undefined : formatOf(release);
  if (usual !== undefined) {
    given.add(usual);
    yield usual;
  }
  for (const [path, kind, format] of DATABASES) {
    if (given.has(format) || !(await isThere(actions, path, kind))) continue;
    given.add(format);
    yield format;
  }
}

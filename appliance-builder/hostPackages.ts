/** The packages that the host of a build needs. */

/** Debian packages that every build uses. */
export const hostPackages: readonly string[] = [
  'mmdebstrap',
  'debian-archive-keyring',
  'e2fsprogs',
  'kmod',
  'tar',
  'util-linux',
  'xz-utils',
  'zstd',
];

/** Debian packages that a build by an ordinary user needs as well. */
export const unprivilegedHostPackages: readonly string[] = ['fakeroot', 'uidmap'];

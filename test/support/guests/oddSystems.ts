/** Systems that libguestfs does not recognise, or gives up at. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { alpineTree } from './alpine.js';
import { dpkgStatus } from './dpkg.js';
import type { Tree } from './guest.js';

/** A small Debian with these packages and this fstab. */
export function smallDebian(packages: readonly string[], fstab: string, more: Tree = {}): Tree {
  return {
    '/bin/sh': tinyProgram(),
    '/etc/fstab': fstab,
    '/etc/debian_version': '13.1\n',
    '/etc/os-release':
      'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nID=debian\n',
    '/etc/hostname': 'small\n',
    '/var/lib/dpkg/status': dpkgStatus(packages.map((name) => ({ name, version: '1:2.0-1' }))),
    ...more,
  };
}

/** Lines of an fstab that Augeas has no rule for. */
export const wrongLines = [
  'N:/x /x nfs ,nofail 0 0',
  'UUID="5e9ddb3e-ff5c-4bcb-9064-f64149345100" TYPE="ext4" /u02 ext4 defaults 1 2',
] as const;

/** Debian without a shell, a package manager, an fstab or a hosts file: each package has a file of its own. */
export const distroless: Tree = {
  '/bin/': '',
  '/etc/os-release': { link: '../usr/lib/os-release' },
  '/usr/lib/os-release': 'PRETTY_NAME="Distroless"\nNAME="Debian GNU/Linux"\nID="debian"\nVERSION_ID="12"\n',
  '/var/lib/dpkg/status.d/base-files': 'Package: base-files\nVersion: 12.4\nArchitecture: amd64\n',
  '/var/lib/dpkg/status.d/tzdata': 'Package: tzdata\nVersion: 2025a-1\nArchitecture: all\n',
  '/var/lib/dpkg/status.d/tzdata.md5sums': '0  usr/share/zoneinfo/UTC\n',
};

export const nixos: Tree = {
  '/nix/store/1-etc/etc/os-release': 'NAME=NixOS\nID=nixos\nVERSION_ID="25.05"\nPRETTY_NAME="NixOS 25.05 (Warbler)"\n',
  '/nix/store/1-etc/etc/fstab': '/dev/sda / ext4 defaults 0 1\n',
  '/nix/store/2-bash/bin/bash': tinyProgram(),
  '/etc/static': { link: '/nix/store/1-etc/etc' },
  '/etc/os-release': { link: 'static/os-release' },
  '/etc/fstab': { link: '/etc/static/fstab' },
  '/etc/hostname': 'nix\n',
  '/bin/sh': { link: '/nix/store/2-bash/bin/bash' },
};

const DEPLOYMENT = '/ostree/deploy/fedora-coreos/deploy/0123abcd.0';

/** The root of its system is a directory; what its own links name is relative to that. */
export const ostree: Tree = {
  '/boot/loader/': '',
  '/ostree/repo/config': '[core]\n',
  '/ostree/deploy/fedora-coreos/var/lib/': '',
  [`${DEPLOYMENT}/usr/lib/os-release`]:
    'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=41\nVERSION_CODENAME=""\nPRETTY_NAME="Fedora CoreOS 41"\nSUPPORT_END=2025-12-15\n',
  [`${DEPLOYMENT}/usr/bin/bash`]: tinyProgram(),
  [`${DEPLOYMENT}/bin`]: { link: 'usr/bin' },
  [`${DEPLOYMENT}/etc/os-release`]: { link: '/usr/lib/os-release' },
  [`${DEPLOYMENT}/etc/hostname`]: 'fcos\n',
};

/** Only the part of a system that is mounted at /usr. */
export const flatcarUsr: Tree = {
  '/lib/os-release':
    'NAME="Flatcar"\nID=flatcar\nID_LIKE=coreos\nVERSION_ID=4152.2.0\nPRETTY_NAME="Flatcar Container Linux 4152.2.0"\n',
  '/bin/bash': tinyProgram(),
  '/share/flatcar/release': '',
  '/sbin/': '',
};

/** Packages of Alpine's format in a distribution that is not Alpine. */
export const wolfi: Tree = {
  ...alpineTree,
  '/etc/alpine-release': { link: 'nothing' },
  '/etc/os-release': 'NAME="Wolfi"\nID=wolfi\nVERSION_ID="20230201"\nPRETTY_NAME="Wolfi"\n',
};

/** An rpm database in a distribution that libguestfs does not know, and is said to be like none. */
export function azureLinux(database: ReadonlyMap<string, Buffer>): Tree {
  return {
    '/bin/sh': tinyProgram(),
    '/etc/fstab': '/dev/root / ext4 defaults 0 1\n',
    '/etc/os-release':
      'NAME="Microsoft Azure Linux"\nID="azurelinux"\nVERSION_ID="3.0"\nPRETTY_NAME="Microsoft Azure Linux 3.0"\n',
    '/usr/lib/rpm/rpmrc': '',
    '/usr/lib/rpm/macros': '%_dbpath /var/lib/rpm\n%_db_backend sqlite\n',
    ...Object.fromEntries([...database].map(([name, content]) => [`/var/lib/rpm/${name}`, content])),
  };
}

/** A system that names no package format and has no database. */
export const nameless: Tree = {
  '/bin/sh': tinyProgram(),
  '/etc/fstab': '/dev/root / ext4 defaults 0 1\n',
  '/etc/os-release': 'NAME=Something\nID=something\nVERSION_ID=1\nPRETTY_NAME="Something 1"\n',
};

/** A version that no number holds ends the daemon's inspection: neither a line nor a hive can be taken out. */
export const immense: Tree = {
  ...smallDebian(['bash'], '/dev/root / ext4 defaults 0 1\n'),
  '/etc/os-release':
    'PRETTY_NAME="Immense"\nNAME="Immense"\nVERSION_ID="99999999999999999999.1"\nID=debian\nHOME_URL=x\n',
};

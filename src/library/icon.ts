/**
 * Icons of inspected systems: `inspect_get_icon`.
 *
 * The server parses no guest file. PNG files are returned unchanged, if the daemon identifies them
 * as PNG. The icons of Windows XP and 7, which are inside a program, and of CirrOS, which is text,
 * are converted in the appliance.
 */
import { isFile } from '../../gen/calls/file.js';
import { inspectGetDistro, inspectGetMajorVersion, inspectGetType } from '../../gen/calls/inspection.js';
import type { InspectionLibraryActions } from '../../gen/libraryActions.js';
import type { Daemon } from '../session/daemon.js';
import { fromText } from './iconConversion.js';
import { describe, fetchConverted, fetchPng, inItsLetters, withoutLinks } from './iconFile.js';
import { windowsIcon } from './windowsIcon.js';

/** A place to search for an icon. */
interface Place {
  readonly paths: readonly string[];
  /** Largest plausible size, bytes; by default, as much as that many pixels could take. */
  readonly maxSize?: number;
  /** Too small for callers that want a large icon. */
  readonly lowQuality?: true;
}

const FAVICON = '/etc/favicon.png';
/** Largest text accepted as an icon, bytes. */
const MAX_TEXT = 1024;

const HICOLOR = '/usr/share/icons/hicolor';
const SUSE: Place = {
  paths: [`${HICOLOR}/48x48/apps/distributor.png`, `${HICOLOR}/24x24/apps/distributor.png`],
  maxSize: 10240,
};

/** Icon paths of distributions. */
const PLACES: ReadonlyMap<string, Place> = new Map<string, Place>([
  ['fedora', { paths: [`${HICOLOR}/96x96/apps/fedora-logo-icon.png`] }],
  ['debian', { paths: ['/usr/share/pixmaps/debian-logo.png'], maxSize: 2048 }],
  [
    'ubuntu',
    {
      paths: [
        '/usr/share/icons/gnome/24x24/places/ubuntu-logo.png',
        '/usr/share/help/C/ubuntu-help/figures/ubuntu-logo.png',
      ],
      maxSize: 2048,
      lowQuality: true,
    },
  ],
  ['mageia', { paths: ['/usr/share/icons/mageia.png'], maxSize: 10240 }],
  ['suse-based', SUSE],
  ['opensuse', SUSE],
  ['sles', SUSE],
  ['voidlinux', { paths: ['/usr/share/void-artwork/void-logo.png'], maxSize: 20480 }],
  ['altlinux', { paths: [`${HICOLOR}/48x48/apps/altlinux.png`], maxSize: 20480 }],
  ['gentoo', { paths: ['/usr/share/icons/gentoo/48x48/gentoo.png'], maxSize: 10240 }],
  ['openmandriva', { paths: ['/usr/share/icons/large/mandriva.png', '/usr/share/icons/mandriva.png'], maxSize: 10240 }],
]);

/** Distributions that use the path of Red Hat Enterprise Linux. */
const RHEL_LIKE: ReadonlySet<string> = new Set([
  'rhel',
  'redhat-based',
  'centos',
  'circle',
  'rocky',
  'scientificlinux',
  'oraclelinux',
]);

function rhelPlace(major: number): Place {
  return {
    paths: [
      major < 7 ? '/usr/share/pixmaps/redhat/shadowman-transparent.png' : `${HICOLOR}/96x96/apps/system-logo-icon.png`,
    ],
    maxSize: 102400,
  };
}

async function firstOf(daemon: Daemon, { paths, maxSize }: Place): Promise<Buffer | undefined> {
  for (const path of paths) {
    const png = await fetchPng(daemon, path, maxSize);
    if (png !== undefined) return png;
  }
  return undefined;
}

async function favicon(daemon: Daemon, type: string): Promise<Buffer | undefined> {
  const path = type === 'windows' ? ((await inItsLetters(daemon, FAVICON)) ?? FAVICON) : FAVICON;
  return fetchPng(daemon, path);
}

/** The icon of CirrOS is text. */
async function cirrosIcon(daemon: Daemon): Promise<Buffer | undefined> {
  const path = '/usr/share/cirros/logo';
  if (!(await daemon.call(isFile, { path })).fileflag) return undefined;
  const real = await withoutLinks(daemon, path);
  if (real === undefined || !(await describe(daemon, real))?.startsWith('ASCII text')) return undefined;
  return fetchConverted(daemon, real, MAX_TEXT, fromText);
}

async function distributionIcon(
  daemon: Daemon,
  root: string,
  distro: string,
  highQuality: boolean,
): Promise<Buffer | undefined> {
  if (distro === 'cirros') return cirrosIcon(daemon);
  const place = RHEL_LIKE.has(distro)
    ? rhelPlace((await daemon.call(inspectGetMajorVersion, { root })).major)
    : PLACES.get(distro);
  if (place === undefined || (highQuality && place.lowQuality)) return undefined;
  return firstOf(daemon, place);
}

async function findIcon(
  daemon: Daemon,
  root: string,
  wantFavicon: boolean,
  highQuality: boolean,
): Promise<Buffer | undefined> {
  const { name: type } = await daemon.call(inspectGetType, { root });
  const { distro } = await daemon.call(inspectGetDistro, { root });
  // A favicon is never of high quality.
  const found = wantFavicon && !highQuality ? await favicon(daemon, type) : undefined;
  if (found !== undefined) return found;
  if (type === 'linux' || type === 'hurd') return distributionIcon(daemon, root, distro, highQuality);
  return type === 'windows' && !highQuality ? windowsIcon(daemon, root) : undefined;
}

export const iconActions: Pick<InspectionLibraryActions, 'inspect_get_icon'> = {
  inspect_get_icon: async ({ daemon }, { root, favicon: wantFavicon = true, highquality = false }) => {
    return { icon: (await findIcon(daemon, root, wantFavicon, highquality)) ?? Buffer.alloc(0) };
  },
};

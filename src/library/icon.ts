/**
 * Icons of inspected systems: `inspect_get_icon`.
 *
 * Only PNG files are taken, as they are: the daemon says what a file is, and nothing of it is
 * parsed here. So there is no icon of systems whose icon would have to be converted: Windows XP
 * and 7, where it is inside a program, and CirrOS, where it is text.
 */
import { caseSensitivePath, file, filesize, isFile, realpath } from '../../gen/calls/file.js';
import {
  inspectGetDistro, inspectGetMajorVersion, inspectGetMinorVersion, inspectGetType, inspectGetWindowsSystemroot,
} from '../../gen/calls/inspection.js';
import { download } from '../../gen/calls/transfer.js';
import type { InspectionLibraryActions } from '../../gen/libraryActions.js';
import { ANSWER_LIMIT } from './answerLimit.js';
import { collect } from './collect.js';
import { GuestfsError } from '../common/errors.js';
import type { Daemon } from '../session/daemon.js';
import { unlessDaemonFails } from './tolerance.js';

/** Where an icon is looked for. */
interface Place {
  readonly paths: readonly string[];
  /** Largest sound size, bytes; left out: what so many pixels could take. */
  readonly maxSize?: number;
  /** Not good enough for those who want a large one. */
  readonly lowQuality?: true;
}

const FAVICON = '/etc/favicon.png';
const MIN_PIXELS = 16;
const MAX_PIXELS = 1024;
const BYTES_PER_PIXEL = 4;

const HICOLOR = '/usr/share/icons/hicolor';
const SUSE: Place = { paths: [`${HICOLOR}/48x48/apps/distributor.png`, `${HICOLOR}/24x24/apps/distributor.png`], maxSize: 10240 };

/** Where distributions keep theirs. */
const PLACES: ReadonlyMap<string, Place> = new Map<string, Place>([
  ['fedora', { paths: [`${HICOLOR}/96x96/apps/fedora-logo-icon.png`] }],
  ['debian', { paths: ['/usr/share/pixmaps/debian-logo.png'], maxSize: 2048 }],
  ['ubuntu', {
    paths: ['/usr/share/icons/gnome/24x24/places/ubuntu-logo.png', '/usr/share/help/C/ubuntu-help/figures/ubuntu-logo.png'],
    maxSize: 2048,
    lowQuality: true,
  }],
  ['mageia', { paths: ['/usr/share/icons/mageia.png'], maxSize: 10240 }],
  ['suse-based', SUSE],
  ['opensuse', SUSE],
  ['sles', SUSE],
  ['voidlinux', { paths: ['/usr/share/void-artwork/void-logo.png'], maxSize: 20480 }],
  ['altlinux', { paths: [`${HICOLOR}/48x48/apps/altlinux.png`], maxSize: 20480 }],
  ['gentoo', { paths: ['/usr/share/icons/gentoo/48x48/gentoo.png'], maxSize: 10240 }],
  ['openmandriva', { paths: ['/usr/share/icons/large/mandriva.png', '/usr/share/icons/mandriva.png'], maxSize: 10240 }],
]);

/** Distributions that keep theirs where Red Hat Enterprise Linux does. */
const RHEL_LIKE: ReadonlySet<string> = new Set(['rhel', 'redhat-based', 'centos', 'circle', 'rocky', 'scientificlinux', 'oraclelinux']);

function rhelPlace(major: number): Place {
  return { paths: [major < 7 ? '/usr/share/pixmaps/redhat/shadowman-transparent.png' : `${HICOLOR}/96x96/apps/system-logo-icon.png`], maxSize: 102400 };
}

const TOO_LARGE = new GuestfsError('EFBIG', 'the icon is too large');

/** A file up to a size; undefined if it cannot be had or is larger. */
async function fetch(daemon: Daemon, path: string, limit: number): Promise<Buffer | undefined> {
  const found = await unlessDaemonFails(daemon.call(filesize, { file: path }));
  if (found === undefined || found.size > BigInt(limit)) return undefined;
  return unlessDaemonFails(collect(daemon, download, { remotefilename: path }, limit, () => TOO_LARGE));
}

/** A PNG file of a sound size; undefined if it is anything else. */
async function fetchPng(daemon: Daemon, path: string, maxSize: number | undefined): Promise<Buffer | undefined> {
  if (!(await daemon.call(isFile, { path, followsymlinks: true })).fileflag) return undefined;
  const real = (await unlessDaemonFails(daemon.call(realpath, { path })))?.rpath;
  const description = real === undefined ? undefined : (await unlessDaemonFails(daemon.call(file, { path: real })))?.description;
  const pixels = /^PNG image data, \s*(\d+)\s* x \s*(\d+)/.exec(description ?? '');
  if (real === undefined || pixels === null) return undefined;
  const [width, height] = [Number(pixels[1]), Number(pixels[2])];
  if (Math.min(width, height) < MIN_PIXELS || Math.max(width, height) > MAX_PIXELS) return undefined;
  return fetch(daemon, real, Math.min(maxSize ?? BYTES_PER_PIXEL * width * height, ANSWER_LIMIT));
}

async function firstOf(daemon: Daemon, { paths, maxSize }: Place): Promise<Buffer | undefined> {
  for (const path of paths) {
    const png = await fetchPng(daemon, path, maxSize);
    if (png !== undefined) return png;
  }
  return undefined;
}

/** The path with the letters that the file system has; undefined if there is no such directory. */
async function inItsLetters(daemon: Daemon, path: string): Promise<string | undefined> {
  return (await unlessDaemonFails(daemon.call(caseSensitivePath, { path })))?.rpath;
}

async function favicon(daemon: Daemon, type: string): Promise<Buffer | undefined> {
  const path = type === 'windows' ? (await inItsLetters(daemon, FAVICON)) ?? FAVICON : FAVICON;
  return fetchPng(daemon, path, undefined);
}

/** Of the versions of Windows that can be told an icon of, 8 alone has it in a file of its own. */
async function windowsIcon(daemon: Daemon, root: string): Promise<Buffer | undefined> {
  const systemroot = await unlessDaemonFails(daemon.call(inspectGetWindowsSystemroot, { root }));
  const { major } = await daemon.call(inspectGetMajorVersion, { root });
  const { minor } = await daemon.call(inspectGetMinorVersion, { root });
  if (systemroot === undefined || major !== 6 || minor !== 2) return undefined;
  const path = await inItsLetters(daemon, '/ProgramData/Microsoft/Windows Live/WLive48x48.png');
  if (path === undefined || !(await daemon.call(isFile, { path })).fileflag) return undefined;
  return fetch(daemon, path, 8192);
}

async function distributionIcon(daemon: Daemon, root: string, distro: string, highQuality: boolean): Promise<Buffer | undefined> {
  const place = RHEL_LIKE.has(distro) ? rhelPlace((await daemon.call(inspectGetMajorVersion, { root })).major) : PLACES.get(distro);
  if (place === undefined || (highQuality && place.lowQuality)) return undefined;
  return firstOf(daemon, place);
}

async function findIcon(daemon: Daemon, root: string, wantFavicon: boolean, highQuality: boolean): Promise<Buffer | undefined> {
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

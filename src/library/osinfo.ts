/** Short identifiers of operating systems in the osinfo database: `inspect_get_osinfo`. */
import {
  inspectGetBuildId,
  inspectGetDistro,
  inspectGetMajorVersion,
  inspectGetMinorVersion,
  inspectGetProductName,
  inspectGetProductVariant,
  inspectGetType,
} from '../../gen/calls/inspection.js';
import type { InspectionLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Daemon } from '../session/daemon.js';
import { wholeNumber } from './cString.js';

/** The known facts about an inspected system. */
export interface InspectedSystem {
  readonly type: string;
  readonly distro: string;
  readonly major: number;
  readonly minor: number;
}

/** Distinguishes Windows releases that share a version number. */
export interface WindowsDetails {
  readonly productName: string;
  readonly productVariant: string;
  /** Queried only if nothing else decides; undefined: the daemon cannot tell. */
  readonly buildId: () => Promise<number | undefined>;
}

const UNKNOWN = 'unknown';
/** Build of the first Windows 11. */
const WINDOWS_11_BUILD = 22000;
/** First version whose daemon reports the build. */
const BUILD_ID_SINCE = '1.49.8';

/** Identifier of a Linux distribution. */
export function linuxIdentifier({ distro, major, minor }: InspectedSystem): string {
  const whole = `${distro}${major}`;
  const full = `${whole}.${minor}`;
  switch (distro) {
    case 'centos':
      if (major >= 8) return whole;
      if (major === 7) return `${whole}.0`;
      if (major === 6) return full;
      break;
    case 'circle':
    case 'rocky':
      if (major >= 8) return whole;
      break;
    case 'debian':
      if (major >= 4) return whole;
      break;
    case 'fedora':
    case 'mageia':
      return whole;
    case 'sles': {
      const base = `${major >= 15 ? 'sle' : 'sles'}${major}`;
      return minor === 0 ? base : `${base}sp${minor}`;
    }
    case 'ubuntu':
      return `${whole}.${String(minor).padStart(2, '0')}`;
    case 'archlinux':
    case 'gentoo':
    case 'voidlinux':
      return distro;
    case 'altlinux':
      return major >= 8 ? `alt${major}.${minor}` : full;
  }
  return distro !== UNKNOWN && (major > 0 || minor > 0) ? full : UNKNOWN;
}

/** Releases with version 6.x: client, and server. */
const WINDOWS_6: readonly (readonly [string, string])[] = [
  ['winvista', 'win2k8'],
  ['win7', 'win2k8r2'],
  ['win8', 'win2k12'],
  ['win8.1', 'win2k12r2'],
];

/** Identifier of a Windows. */
export async function windowsIdentifier({ major, minor }: InspectedSystem, details: WindowsDetails): Promise<string> {
  const { productName, productVariant } = details;
  const isServer = productVariant.includes('Server');
  if (major === 5 && minor === 1) return 'winxp';
  if (major === 5 && minor === 2) {
    if (productName.includes('XP')) return 'winxp';
    return productName.includes('R2') ? 'win2k3r2' : 'win2k3';
  }
  if (major === 6) return WINDOWS_6[minor]?.[isServer ? 1 : 0] ?? UNKNOWN;
  if (major !== 10 || minor !== 0) return UNKNOWN;
  // Without a build it is not considered Windows 11, as in the library.
  if (!isServer) return ((await details.buildId()) ?? 0) >= WINDOWS_11_BUILD ? 'win11' : 'win10';
  const year = ['2025', '2022', '2019'].find((one) => productName.includes(one));
  return year === undefined ? 'win2k16' : `win2k${year.slice(2)}`;
}

async function buildId(daemon: Daemon, root: string): Promise<number | undefined> {
  if (!daemon.version.atLeast(BUILD_ID_SINCE)) return undefined;
  const { buildid } = await daemon.call(inspectGetBuildId, { root });
  const number = wholeNumber(buildid);
  if (number === undefined)
    throw new GuestfsError('DAEMON_ERROR', `could not parse integer in version number: ${printable(buildid)}`);
  return number;
}

async function identify(daemon: Daemon, root: string): Promise<string> {
  const { name: type } = await daemon.call(inspectGetType, { root });
  const { distro } = await daemon.call(inspectGetDistro, { root });
  const { major } = await daemon.call(inspectGetMajorVersion, { root });
  const { minor } = await daemon.call(inspectGetMinorVersion, { root });
  const system = { type, distro, major, minor };
  switch (type) {
    case 'linux':
      return linuxIdentifier(system);
    case 'freebsd':
    case 'netbsd':
    case 'openbsd':
      return `${distro}${major}.${minor}`;
    case 'dos':
      return distro === 'msdos' ? 'msdos6.22' : UNKNOWN;
    case 'windows': {
      const { product: productName } = await daemon.call(inspectGetProductName, { root });
      const { variant: productVariant } = await daemon.call(inspectGetProductVariant, { root });
      return windowsIdentifier(system, { productName, productVariant, buildId: () => buildId(daemon, root) });
    }
    default:
      return UNKNOWN;
  }
}

export const osinfoActions: Pick<InspectionLibraryActions, 'inspect_get_osinfo'> = {
  inspect_get_osinfo: async ({ daemon }, { root }) => ({ id: await identify(daemon, root) }),
};

/** A part of a report: one operating system, which is mounted. */
import {
  inspectGetArch,
  inspectGetBuildId,
  inspectGetDistro,
  inspectGetDriveMappings,
  inspectGetFilesystems,
  inspectGetHostname,
  inspectGetMajorVersion,
  inspectGetMinorVersion,
  inspectGetPackageFormat,
  inspectGetPackageManagement,
  inspectGetProductName,
  inspectGetProductVariant,
  inspectGetType,
  inspectGetWindowsCurrentControlSet,
  inspectGetWindowsGroupPolicy,
  inspectGetWindowsSoftwareHive,
  inspectGetWindowsSystemHive,
  inspectGetWindowsSystemroot,
} from '../../../gen/calls/inspection.js';
import type {
  InspectedPartition,
  InspectedSystem,
  InspectedWindows,
} from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { DaemonCall } from '../../protocol/daemonCall.js';
import type { ActionCalls } from './actionCalls.js';
import { distroName } from './distros.js';
import type { FoundSystem } from './foundSystem.js';
import { mappingsOf } from './mending/driveLetters.js';
import { architecture, hostName } from './ownFacts.js';
import type { Release } from './release.js';
import type { Warnings } from './warnings.js';

/** libguestfs's answer where it cannot determine something. */
const UNKNOWN = 'unknown';

/** Queries a fact about a system. */
type Ask = <Response>(field: string, call: DaemonCall<{ root: string }, Response>) => Promise<Response | undefined>;

async function describeWindows(ask: Ask): Promise<InspectedWindows> {
  return {
    systemroot: (await ask('windows.systemroot', inspectGetWindowsSystemroot))?.systemroot ?? '',
    current_control_set:
      (await ask('windows.current_control_set', inspectGetWindowsCurrentControlSet))?.controlset ?? '',
    software_hive: (await ask('windows.software_hive', inspectGetWindowsSoftwareHive))?.path ?? '',
    system_hive: (await ask('windows.system_hive', inspectGetWindowsSystemHive))?.path ?? '',
    group_policy: (await ask('windows.group_policy', inspectGetWindowsGroupPolicy))?.hasgrouppolicy,
  };
}

/** The facts that the daemon has about a system that it found. */
async function daemonFacts(actions: ActionCalls, root: string, warnings: Warnings): Promise<InspectedSystem> {
  const ask: Ask = (field, call) =>
    warnings.attempt({ field, action: call.action, ask: () => actions.call(call, { root }) });
  const type = (await ask('type', inspectGetType))?.name ?? '';
  return {
    ...nothing(root),
    type,
    distro: (await ask('distro', inspectGetDistro))?.distro ?? '',
    product_name: (await ask('product_name', inspectGetProductName))?.product ?? '',
    product_variant: (await ask('product_variant', inspectGetProductVariant))?.variant ?? '',
    major_version: (await ask('major_version', inspectGetMajorVersion))?.major ?? 0,
    minor_version: (await ask('minor_version', inspectGetMinorVersion))?.minor ?? 0,
    hostname: (await ask('hostname', inspectGetHostname))?.hostname ?? '',
    arch: (await ask('arch', inspectGetArch))?.arch ?? '',
    package_format: (await ask('package_format', inspectGetPackageFormat))?.packageformat ?? '',
    package_management: (await ask('package_management', inspectGetPackageManagement))?.packagemanagement ?? '',
    build_id: (await ask('build_id', inspectGetBuildId))?.buildid ?? '',
    osinfo:
      (
        await warnings.attempt({
          field: 'osinfo',
          action: 'inspect_get_osinfo',
          ask: () => actions.library('inspect_get_osinfo', root),
        })
      )?.id ?? '',
    filesystems: (await ask('filesystems', inspectGetFilesystems))?.filesystems ?? [],
    drive_mappings: (await ask('drive_mappings', inspectGetDriveMappings))?.drives ?? new Map<string, string>(),
    windows: type === 'windows' ? await describeWindows(ask) : undefined,
  };
}

/** A system of which nothing is known yet. */
function nothing(root: string): InspectedSystem {
  return {
    root,
    type: UNKNOWN,
    distro: UNKNOWN,
    product_name: UNKNOWN,
    product_variant: UNKNOWN,
    major_version: 0,
    minor_version: 0,
    hostname: UNKNOWN,
    arch: UNKNOWN,
    package_format: UNKNOWN,
    package_management: UNKNOWN,
    build_id: UNKNOWN,
    osinfo: UNKNOWN,
    mountpoints: new Map(),
    filesystems: [],
    drive_mappings: new Map(),
    windows: undefined,
    directory: '/',
    snapshots: [],
    version: '',
    codename: '',
    support_end: '',
  };
}

/** Fills in what the daemon does not know from os-release, and from the programs and files of the system. */
async function complete(actions: ActionCalls, system: InspectedSystem, release: Release | undefined): Promise<void> {
  const fill = (
    field: 'distro' | 'product_name' | 'build_id' | 'arch' | 'hostname',
    value: string | undefined,
  ): void => {
    if (system[field] === UNKNOWN && value !== undefined && value !== '') system[field] = value;
  };
  if (release !== undefined) {
    system.version = release.versionId;
    system.codename = release.codename;
    system.support_end = release.supportEnd;
    if (release.id !== '') fill('distro', distroName(release.id));
    fill('product_name', release.prettyName);
    if (system.product_name === release.plainPrettyName) system.product_name = release.prettyName;
    fill('build_id', release.buildId);
    const [, major = '0', minor = '0'] = /^(\d{1,9})(?:\.(\d{1,9}))?/.exec(release.versionId) ?? [];
    if (system.major_version === 0 && system.minor_version === 0) {
      system.major_version = Number(major);
      system.minor_version = Number(minor);
    }
  }
  if (system.arch === UNKNOWN) fill('arch', await architecture(actions));
  if (system.hostname === UNKNOWN) fill('hostname', await hostName(actions));
}

/** What is known about a system, which is mounted unless it could not be. */
export interface Circumstances {
  readonly mountpoints: Map<string, string>;
  readonly release: Release | undefined;
  readonly partitions: readonly InspectedPartition[];
}

/** The facts about a system; the format of its packages is not yet chosen. */
export async function describeSystem(
  actions: ActionCalls,
  found: FoundSystem,
  { mountpoints, release, partitions }: Circumstances,
  warnings: Warnings,
): Promise<InspectedSystem> {
  const { root, isInspected, directory, snapshots, windows } = found;
  const system: InspectedSystem = isInspected
    ? await daemonFacts(actions, root, warnings)
    : { ...nothing(root), type: 'linux', filesystems: [root] };
  system.mountpoints = mountpoints;
  system.directory = directory;
  system.snapshots = [...snapshots];
  if (windows !== undefined) {
    system.drive_mappings = await mappingsOf(actions, windows.letters, partitions);
    if (windows.arch !== undefined) system.arch = windows.arch;
  }
  if (system.type !== 'windows') await complete(actions, system, release);
  return system;
}

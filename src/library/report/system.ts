/** A part of a report: one operating system. */
import {
  inspectGetArch,
  inspectGetBuildId,
  inspectGetDistro,
  inspectGetDriveMappings,
  inspectGetFilesystems,
  inspectGetHostname,
  inspectGetMajorVersion,
  inspectGetMinorVersion,
  inspectGetMountpoints,
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
import type { InspectedSystem, InspectedWindows } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { DaemonCall } from '../../protocol/daemonCall.js';
import type { ActionCalls } from './actionCalls.js';
import type { Warnings } from './warnings.js';

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

export async function describeSystem(actions: ActionCalls, root: string, warnings: Warnings): Promise<InspectedSystem> {
  const ask: Ask = (field, call) =>
    warnings.attempt({ field, action: call.action, ask: () => actions.call(call, { root }) });
  const type = (await ask('type', inspectGetType))?.name ?? '';
  return {
    root,
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
    mountpoints: (await ask('mountpoints', inspectGetMountpoints))?.mountpoints ?? new Map<string, string>(),
    filesystems: (await ask('filesystems', inspectGetFilesystems))?.filesystems ?? [],
    drive_mappings: (await ask('drive_mappings', inspectGetDriveMappings))?.drives ?? new Map<string, string>(),
    windows: type === 'windows' ? await describeWindows(ask) : undefined,
  };
}

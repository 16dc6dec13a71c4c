/** What the inspection actions, and a report, return for a system, in the form of the expectations. */
import { expect } from '@jest/globals';
import type { InspectedSystem, InspectResponse } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { Application, Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { SessionClient } from '../testClient.js';
import type { ExpectedSystem, ExpectedWindows } from './guest.js';

/** libguestfs's answers for facts that it could not determine. */
const known = (value: string): string | undefined => (value === 'unknown' ? undefined : value);

/** Mounts a system according to its own configuration, shortest mount points first. */
export async function mountSystem(session: SessionClient, mountpoints: ReadonlyMap<string, string>): Promise<void> {
  const ordered = [...mountpoints].sort(([one], [other]) => one.length - other.length);
  for (const [mountpoint, mountable] of ordered) await session.call('mount_ro', { mountable, mountpoint });
}

const listed = (applications: readonly Application2[]): ExpectedSystem['applications'] =>
  applications.map((one) => [one.app2_name, one.app2_version, one.app2_release] as const);

async function observeWindows(session: SessionClient, root: string): Promise<ExpectedWindows> {
  const ask = (what: string): Promise<never> => session.call(`inspect_get_windows_${what}`, { root });
  return {
    systemroot: await ask('systemroot'),
    currentControlSet: await ask('current_control_set'),
    softwareHive: await ask('software_hive'),
    systemHive: await ask('system_hive'),
  };
}

/** Calls all inspection actions, one after the other; finally unmounts the system's file systems. */
export async function observeSystem(session: SessionClient, root: string): Promise<ExpectedSystem> {
  const ask = (what: string): Promise<never> => session.call(`inspect_${what}`, { root });
  const mountpoints: ReadonlyMap<string, string> = await ask('get_mountpoints');
  await mountSystem(session, mountpoints);
  const applications: Application2[] = await ask('list_applications2');
  const older: Application[] = await ask('list_applications');
  expect(older.map((one) => [one.app_name, one.app_version, one.app_release])).toEqual(listed(applications));
  await session.call('umount_all');
  const type: string = await ask('get_type');
  const productVariant = known(await ask('get_product_variant'));
  const buildId = known(await ask('get_build_id'));
  const driveMappings: ReadonlyMap<string, string> = await ask('get_drive_mappings');
  return {
    root,
    type,
    distro: await ask('get_distro'),
    productName: await ask('get_product_name'),
    ...(productVariant === undefined ? {} : { productVariant }),
    version: [await ask('get_major_version'), await ask('get_minor_version')],
    hostname: await ask('get_hostname'),
    arch: await ask('get_arch'),
    packageFormat: await ask('get_package_format'),
    packageManagement: await ask('get_package_management'),
    ...(buildId === undefined ? {} : { buildId }),
    osinfo: await ask('get_osinfo'),
    mountpoints: Object.fromEntries(mountpoints),
    filesystems: ((await ask('get_filesystems')) as string[]).sort(),
    ...(driveMappings.size === 0 ? {} : { driveMappings: Object.fromEntries(driveMappings) }),
    ...(type === 'windows' ? { windows: await observeWindows(session, root) } : {}),
    applications: listed(applications),
  };
}

function reportedSystem(system: InspectedSystem, applications: readonly Application2[]): ExpectedSystem {
  const productVariant = known(system.product_variant);
  const buildId = known(system.build_id);
  const { windows } = system;
  return {
    root: system.root,
    type: system.type,
    distro: system.distro,
    productName: system.product_name,
    ...(productVariant === undefined ? {} : { productVariant }),
    version: [system.major_version, system.minor_version],
    hostname: system.hostname,
    arch: system.arch,
    packageFormat: system.package_format,
    packageManagement: system.package_management,
    ...(buildId === undefined ? {} : { buildId }),
    osinfo: system.osinfo,
    mountpoints: Object.fromEntries(system.mountpoints),
    filesystems: [...system.filesystems].sort(),
    ...(system.drive_mappings.size === 0 ? {} : { driveMappings: Object.fromEntries(system.drive_mappings) }),
    ...(windows === undefined
      ? {}
      : {
          windows: {
            systemroot: windows.systemroot,
            currentControlSet: windows.current_control_set,
            softwareHive: windows.software_hive,
            systemHive: windows.system_hive,
          },
        }),
    applications: listed(applications),
  };
}

/** All applications in a report. */
export function reportedApplications(report: readonly InspectResponse[]): Application2[] {
  return report.flatMap(({ part }) => (part?.$case === 'applications' ? part.value.applications : []));
}

/** The systems of a report. */
export function reportedSystems(report: readonly InspectResponse[]): ExpectedSystem[] {
  const batches = report.flatMap(({ part }) => (part?.$case === 'applications' ? [part.value] : []));
  return report
    .flatMap(({ part }) => (part?.$case === 'system' ? [part.value] : []))
    .map((system) =>
      reportedSystem(
        system,
        batches.filter(({ root }) => root === system.root).flatMap(({ applications }) => applications),
      ),
    );
}

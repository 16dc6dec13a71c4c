/** The first part of a report: the disks, and the systems that were found on them. */
import type { InspectedImage, InspectKey } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { ActionCalls } from './actionCalls.js';
import { detectSystems, systemsOn } from './detection.js';
import { findEncrypted, openEncrypted } from './encrypted.js';
import { describeFilesystems, filesystemsOn, findFilesystems, type Filesystems } from './filesystems.js';
import type { FoundSystem } from './foundSystem.js';
import { warnOfIncompleteGroups } from './incompleteGroups.js';
import { fitting } from './limits.js';
import { describeDrives } from './partitions.js';
import { inspectPatiently } from './roots.js';
import { activateSkipped } from './skippedVolumes.js';
import { foldSnapshots } from './snapshots.js';
import type { Warnings } from './warnings.js';

/** The disks, and the systems on them. */
export interface FoundImage {
  readonly image: InspectedImage;
  readonly systems: readonly FoundSystem[];
}

/** All systems, with their snapshots as systems of their own. */
async function findSystems(
  actions: ActionCalls,
  filesystems: Filesystems,
  warnings: Warnings,
): Promise<readonly FoundSystem[]> {
  const { systems, hidden } = await inspectPatiently(actions, filesystems, warnings);
  const others = await detectSystems(actions, filesystems, systems, warnings);
  const found = [...systems, ...others];
  for (const mountable of hidden)
    if (!found.some(({ root }) => root === mountable)) found.push(...(await systemsOn(actions, mountable, warnings)));
  return found;
}

/** Adds the snapshots that LVM activates only on request, and the systems on them. */
async function addSkipped(
  actions: ActionCalls,
  filesystems: Map<string, string>,
  systems: readonly FoundSystem[],
  isEachReported: boolean,
  warnings: Warnings,
): Promise<readonly FoundSystem[]> {
  const all = [...systems];
  for (const { device, origin } of await activateSkipped(actions, filesystems, warnings)) {
    for (const [mountable, type] of await filesystemsOn(actions, device, warnings)) filesystems.set(mountable, type);
    const index = all.findIndex(({ root }) => root === origin);
    const current = all[index];
    const found = await systemsOn(actions, device, warnings);
    if (current === undefined || isEachReported) all.push(...found);
    else all[index] = { ...current, snapshots: [...current.snapshots, device] };
  }
  return all;
}

/** Opens the devices that there are keys for, then finds everything. */
export async function describeImage(
  actions: ActionCalls,
  {
    keys,
    include_snapshots: isEachReported,
  }: { readonly keys: readonly InspectKey[]; readonly include_snapshots: boolean },
  warnings: Warnings,
): Promise<FoundImage> {
  const openedAs = await openEncrypted(actions, keys, warnings);
  const { devices, partitions } = await describeDrives(actions, warnings);
  const listed = new Map(await findFilesystems(actions, warnings));
  const found = await findSystems(actions, listed, warnings);
  const families = isEachReported ? found : await foldSnapshots(actions, found, warnings);
  const all = await addSkipped(actions, listed, families, isEachReported, warnings);
  const filesystems = await describeFilesystems(actions, listed, warnings);
  const { encrypted, members } = await findEncrypted(actions, filesystems, openedAs, warnings);
  await warnOfIncompleteGroups(actions, members, warnings);
  const systems = fitting(all);
  warnings.leftOut('roots', all.length - systems.length);
  const roots = systems.map(({ root }) => root);
  return { image: { devices, partitions, filesystems, encrypted_devices: encrypted, roots }, systems };
}

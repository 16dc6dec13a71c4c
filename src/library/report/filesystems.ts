/** File systems: listed by the daemon, or, if anything keeps it from listing them, device by device. */
import { btrfsSubvolumeGetDefault, btrfsSubvolumeList } from '../../../gen/calls/btrfs.js';
import { debug } from '../../../gen/calls/debug.js';
import { listDevices, listDmDevices } from '../../../gen/calls/device.js';
import { listFilesystems, vfsLabel, vfsType, vfsUuid } from '../../../gen/calls/filesystem.js';
import { listLdmVolumes } from '../../../gen/calls/ldm.js';
import { lvs } from '../../../gen/calls/lvm.js';
import { listPartitions } from '../../../gen/calls/partition.js';
import { listMdDevices } from '../../../gen/calls/raid.js';
import type { InspectedFilesystem } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { ActionCalls } from './actionCalls.js';
import { fitting, Room } from './limits.js';
import { isPartOf } from './partOf.js';
import { sizeOfDevice } from './partitions.js';
import { lines } from './shell.js';
import type { Warnings } from './warnings.js';

/** Types by mountable. */
export type Filesystems = ReadonlyMap<string, string>;

const FIELD = 'filesystems';
const BTRFS = 'btrfs';
/** Devices in which a file system can be only once they are opened. */
const CLOSED: ReadonlySet<string> = new Set(['crypto_LUKS', 'BitLocker']);

/**
 * Keeps each Btrfs that lacks a device mounted, outside the guest's tree, and prints the devices. The kernel
 * mounts such a file system only on request ("degraded"); while it is mounted, the daemon can mount it as
 * any other.
 */
const HOLD_INCOMPLETE = `
for device in $(blkid -c /dev/null -o device -t TYPE=btrfs); do
  held=/run/inspected-btrfs-\${device##*/}
  mkdir -p "$held"
  if mount -o ro "$device" "$held"; then umount "$held"
  elif mount -o degraded "$device" "$held" || mount -o ro,degraded "$device" "$held"; then echo "$device"
  fi
done 2>/dev/null
:`;

/** Mounts what is incomplete; true if there is any. */
async function holdIncomplete(actions: ActionCalls, warnings: Warnings): Promise<boolean> {
  const output = await warnings.attempt({
    field: FIELD,
    action: debug.action,
    isCut: true,
    ask: () => actions.script(HOLD_INCOMPLETE),
  });
  const held = lines(output ?? '');
  for (const device of held)
    warnings.add(FIELD, '', 'INCOMPLETE', `${device}: a device of this Btrfs is missing; it is mounted without it`);
  return held.length > 0;
}

/** Devices of all kinds; a kind that cannot be listed causes a warning. */
async function devicesOf(actions: ActionCalls, warnings: Warnings): Promise<string[]> {
  const devices = new Set<string>();
  const add = async (action: string, ask: () => Promise<readonly string[]>): Promise<void> => {
    for (const one of (await warnings.attempt({ field: FIELD, action, isCut: true, ask })) ?? []) devices.add(one);
  };
  const partitions = new Set<string>();
  await add(listPartitions.action, async () => {
    const listed = (await actions.call(listPartitions, {})).partitions;
    for (const one of listed) partitions.add(one);
    return listed;
  });
  const whole = (list: readonly string[]): string[] =>
    list.filter((device) => ![...partitions].some((one) => isPartOf(one, device)));
  await add(listDevices.action, async () => whole((await actions.call(listDevices, {})).devices));
  await add(listDmDevices.action, async () => (await actions.call(listDmDevices, {})).devices);
  await add(listMdDevices.action, async () => whole((await actions.call(listMdDevices, {})).devices));
  await add(lvs.action, async () => (await actions.call(lvs, {})).logvols);
  await add(listLdmVolumes.action, async () => (await actions.call(listLdmVolumes, {})).devices);
  return [...devices].sort();
}

/** The file systems on one device. */
export async function filesystemsOn(
  actions: ActionCalls,
  device: string,
  warnings: Warnings,
): Promise<[mountable: string, type: string][]> {
  const field = `${FIELD}[${device}]`;
  const type =
    (
      await warnings.attempt({
        field,
        action: vfsType.action,
        ask: () => actions.call(vfsType, { mountable: device }),
      })
    )?.fstype ?? '';
  if (CLOSED.has(type) || type.endsWith('_member')) return [];
  const itself: [string, string] = [device, type === '' ? 'unknown' : type];
  if (type !== BTRFS) return [itself];
  const subvolumes = await warnings.attempt({
    field,
    action: btrfsSubvolumeList.action,
    isCut: true,
    ask: () => actions.call(btrfsSubvolumeList, { fs: device }),
  });
  if (subvolumes === undefined) return [itself];
  const standard = await warnings.attempt({
    field,
    action: btrfsSubvolumeGetDefault.action,
    ask: () => actions.call(btrfsSubvolumeGetDefault, { fs: device }),
  });
  return [
    itself,
    ...subvolumes.subvolumes
      .filter((one) => one.btrfssubvolume_id !== standard?.id)
      .map((one): [string, string] => [`btrfsvol:${device}/${one.btrfssubvolume_path}`, BTRFS]),
  ];
}

async function deviceByDevice(actions: ActionCalls, warnings: Warnings): Promise<Filesystems> {
  const found = new Map<string, string>();
  for (const device of await devicesOf(actions, warnings))
    for (const [mountable, type] of await filesystemsOn(actions, device, warnings)) found.set(mountable, type);
  return found;
}

/** All file systems. */
export async function findFilesystems(actions: ActionCalls, warnings: Warnings): Promise<Filesystems> {
  const ask = async (): Promise<Filesystems> => (await actions.call(listFilesystems, {})).fses;
  const question = { field: FIELD, action: listFilesystems.action, isCut: true, ask };
  const failure = warnings.aside();
  const found = await failure.attempt(question);
  if (found !== undefined) return found;
  if (await holdIncomplete(actions, warnings)) {
    const complete = await warnings.aside().attempt(question);
    if (complete !== undefined) return complete;
  }
  warnings.take(failure);
  return deviceByDevice(actions, warnings);
}

/** The facts about each file system, as far as they fit in a message. */
export async function describeFilesystems(
  actions: ActionCalls,
  found: Filesystems,
  warnings: Warnings,
): Promise<InspectedFilesystem[]> {
  const all = [...found];
  const listed = fitting(all);
  warnings.leftOut(FIELD, all.length - listed.length);
  const filesystems: InspectedFilesystem[] = [];
  const room = new Room();
  for (const [index, [mountable, type]] of listed.entries()) {
    const field = (name: string): string => `${FIELD}[${index}].${name}`;
    const label = await warnings.attempt({
      field: field('label'),
      action: vfsLabel.action,
      ask: () => actions.call(vfsLabel, { mountable }),
    });
    const uuid = await warnings.attempt({
      field: field('uuid'),
      action: vfsUuid.action,
      ask: () => actions.call(vfsUuid, { mountable }),
    });
    const size = mountable.startsWith('/')
      ? await sizeOfDevice(actions, mountable, field('size'), warnings)
      : undefined;
    const filesystem = { mountable, type, label: label?.label ?? '', uuid: uuid?.uuid ?? '', size };
    if (!room.takes(filesystem)) break;
    filesystems.push(filesystem);
  }
  warnings.leftOut(FIELD, listed.length - filesystems.length);
  return filesystems;
}

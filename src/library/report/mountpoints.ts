/**
 * Where a system mounts its file systems, according to its fstab. The daemon keeps names that it cannot resolve, and what it
 * says about / can be wrong: a snapshot has the fstab of the system that it was taken of.
 */
import { btrfsSubvolumeGetDefault, btrfsSubvolumeList } from '../../../gen/calls/btrfs.js';
import { isFile, pread } from '../../../gen/calls/file.js';
import { findfsLabel, findfsPartlabel, findfsPartuuid, findfsUuid } from '../../../gen/calls/filesystem.js';
import { luksUuid } from '../../../gen/calls/luks.js';
import { lvsFull, vgsFull } from '../../../gen/calls/lvm.js';
import { decodeGuestText } from '../../common/guestText.js';
import { unlessDaemonFails } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';
import { deviceOf } from './mending/culprit.js';
import type { Warnings } from './warnings.js';

export type Mountpoints = ReadonlyMap<string, string>;

const CRYPTTAB = '/etc/crypttab';
/** Genuine ones have a line for each encrypted device. */
const MAX_CRYPTTAB = 64 * 1024;
const MAPPED = '/dev/mapper/';

/** A drive or partition of a guest's, under the name that it has here; the daemon itself translates hd, vd and xvd. */
function driveHere(name: string): string {
  const [, index, partition = ''] = /^\/dev\/nvme(\d)n1(?:p(\d+))?$/.exec(name) ?? [];
  if (index !== undefined) return `/dev/sd${String.fromCharCode(0x61 + Number(index))}${partition}`;
  return name.replace(/^\/dev\/xvd/, '/dev/sd');
}

/** UUID of the encrypted device that a line of crypttab names; undefined if it is not found. */
async function encryptedUuid(actions: ActionCalls, source: string): Promise<string | undefined> {
  const [, tag, quoted = ''] = /^(UUID|LABEL|PARTUUID|PARTLABEL)=(.+)$/.exec(source) ?? [];
  const name = tag === undefined ? source : `/dev/disk/by-${tag.toLowerCase()}/${quoted.replace(/^"(.*)"$/, '$1')}`;
  const uuid = /^\/dev\/disk\/by-uuid\/([0-9a-fA-F-]+)$/.exec(name)?.[1];
  if (uuid !== undefined) return uuid;
  const device = name.startsWith('/dev/disk/') ? await resolveName(actions, name) : driveHere(name);
  if (device?.startsWith('/dev/') !== true) return undefined;
  return (await unlessDaemonFails(actions.call(luksUuid, { device })))?.uuid;
}

/** The device of an encrypted one, under the name that an inspection opens it by: {@link openEncrypted}. */
async function opened(actions: ActionCalls, name: string): Promise<string | undefined> {
  const request = { path: CRYPTTAB, followsymlinks: true };
  if ((await unlessDaemonFails(actions.call(isFile, request)))?.fileflag !== true) return undefined;
  const file = await unlessDaemonFails(actions.call(pread, { path: CRYPTTAB, count: MAX_CRYPTTAB, offset: 0n }));
  for (const line of decodeGuestText(file?.content ?? Buffer.alloc(0)).split('\n')) {
    const [target, source = ''] = line.trim().split(/\s+/);
    if (target !== name || source === '') continue;
    const uuid = await encryptedUuid(actions, source);
    return uuid === undefined ? undefined : `${MAPPED}luks-${uuid.toLowerCase()}`;
  }
  return undefined;
}

/** udev's name of a logical volume: the UUIDs of its group and its own. */
async function volumeByUuid(actions: ActionCalls, group: string, volume: string): Promise<string | undefined> {
  const plain = (uuid: string): string => uuid.replaceAll('-', '');
  const groups = await unlessDaemonFails(actions.call(vgsFull, {}));
  const volumes = await unlessDaemonFails(actions.call(lvsFull, {}));
  const groupName = groups?.volgroups.find(({ vg_uuid: uuid }) => plain(uuid) === group)?.vg_name;
  const name = volumes?.logvols.find(({ lv_uuid: uuid }) => plain(uuid) === volume)?.lv_name;
  return groupName === undefined || name === undefined ? undefined : `/dev/${groupName}/${name}`;
}

/** The device with one of the names that udev gives it, or a mapped one; undefined if it is not found. */
async function resolveName(actions: ActionCalls, name: string): Promise<string | undefined> {
  const by = /^\/dev\/disk\/by-(uuid|label|partuuid|partlabel)\/(.+)$/.exec(name);
  const value = by?.[2] ?? '';
  switch (by?.[1]) {
    case 'uuid':
      return (await unlessDaemonFails(actions.call(findfsUuid, { uuid: value })))?.device;
    case 'label':
      return (await unlessDaemonFails(actions.call(findfsLabel, { label: value })))?.device;
    case 'partuuid':
      return (await unlessDaemonFails(actions.call(findfsPartuuid, { uuid: value })))?.device;
    case 'partlabel':
      return (await unlessDaemonFails(actions.call(findfsPartlabel, { label: value })))?.device;
    case undefined:
  }
  const [, group, volume] = /^\/dev\/disk\/by-id\/dm-uuid-LVM-(\w{32})(\w{32})$/.exec(name) ?? [];
  if (group !== undefined && volume !== undefined) return volumeByUuid(actions, group, volume);
  return name.startsWith(MAPPED) ? opened(actions, name.slice(MAPPED.length)) : undefined;
}

/** True for a name that the daemon leaves as it is in fstab. */
const isUnresolved = (mountable: string): boolean =>
  mountable.startsWith('/dev/disk/') || (mountable.startsWith(MAPPED) && !mountable.startsWith(`${MAPPED}luks-`));

/** The mountable that a system's fstab names, if it is known under another name. */
export async function resolveMountable(actions: ActionCalls, mountable: string): Promise<string> {
  return isUnresolved(mountable) ? ((await resolveName(actions, mountable)) ?? mountable) : mountable;
}

/** True if this is the default subvolume of the device, which is the device itself. */
async function isDefaultOf(actions: ActionCalls, root: string, mountable: string): Promise<boolean> {
  if (root !== deviceOf(mountable) || root === mountable) return false;
  const standard = await unlessDaemonFails(actions.call(btrfsSubvolumeGetDefault, { fs: root }));
  const all = await unlessDaemonFails(actions.call(btrfsSubvolumeList, { fs: root }));
  const path = mountable.slice(`btrfsvol:${root}/`.length).replace(/^\/+/, '');
  return all?.subvolumes.find((one) => one.btrfssubvolume_path === path)?.btrfssubvolume_id === standard?.id;
}

/**
 * Where the system mounts what, with the root that was found; warns if fstab names another one.
 * @param stated the daemon's answer
 */
export async function trueMountpoints(
  actions: ActionCalls,
  root: string,
  stated: Mountpoints,
  warnings: Warnings,
): Promise<Map<string, string>> {
  const mountpoints = new Map<string, string>();
  for (const [mountpoint, mountable] of stated)
    mountpoints.set(mountpoint, mountpoint === '/' ? mountable : await resolveMountable(actions, mountable));
  const named = mountpoints.get('/');
  if (named === undefined || named === root) return mountpoints;
  const resolved = await resolveMountable(actions, named);
  if (resolved !== root && !(await isDefaultOf(actions, root, resolved)))
    warnings.add(
      'mountpoints[/]',
      '',
      'FSTAB_DISAGREES',
      `fstab names ${named} for /, but this system was found on ${root}, which is what is mounted`,
    );
  mountpoints.set('/', root);
  return mountpoints;
}

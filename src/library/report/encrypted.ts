/** Encrypted devices: found, and opened for reading with the keys that a request has. */
import { listDevices } from '../../../gen/calls/device.js';
import { vfsType } from '../../../gen/calls/filesystem.js';
import { cryptsetupOpen, luksUuid } from '../../../gen/calls/luks.js';
import { lvmScan, lvs } from '../../../gen/calls/lvm.js';
import { listPartitions } from '../../../gen/calls/partition.js';
import { listMdDevices } from '../../../gen/calls/raid.js';
import type {
  EncryptedDevice,
  InspectedFilesystem,
  InspectKey,
} from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { ActionCalls } from './actionCalls.js';
import { fitting } from './limits.js';
import type { Warnings } from './warnings.js';

const LUKS = 'crypto_LUKS';
const ENCRYPTED: ReadonlySet<string> = new Set([LUKS, 'BitLocker']);

/** Mapper name for an opened device: the one that systems use themselves, so that their fstab matches. */
async function mappingName(actions: ActionCalls, device: string, index: number): Promise<string> {
  const { fstype } = await actions.call(vfsType, { mountable: device });
  if (fstype !== LUKS) return `inspected-${index}`;
  const { uuid } = await actions.call(luksUuid, { device });
  return `luks-${uuid}`;
}

/**
 * Opens devices in the order of their keys; adds a warning for each that cannot be opened.
 * @returns what is in them, by device
 */
export async function openEncrypted(
  actions: ActionCalls,
  keys: readonly InspectKey[],
  warnings: Warnings,
): Promise<ReadonlyMap<string, string>> {
  const openedAs = new Map<string, string>();
  for (const [index, { device, key }] of keys.entries()) {
    const field = `keys[${index}]`;
    const mapname = await warnings.attempt({
      field,
      action: vfsType.action,
      ask: () => mappingName(actions, device, index),
    });
    if (mapname === undefined) continue;
    const done = await warnings.attempt({
      field,
      action: cryptsetupOpen.action,
      ask: () =>
        actions.call(cryptsetupOpen, { device, key, mapname, readonly: true, crypttype: undefined, cipher: undefined }),
    });
    if (done === undefined) continue;
    openedAs.set(device, `/dev/mapper/${mapname}`);
    // The next key may be for a volume that has just appeared.
    await warnings.attempt({ field, action: lvmScan.action, ask: () => actions.call(lvmScan, { activate: true }) });
  }
  return openedAs;
}

/** What the daemon does not list as file systems. */
export interface UnlistedDevices {
  readonly encrypted: EncryptedDevice[];
  /** Types of devices that are part of something else, by device. */
  readonly members: ReadonlyMap<string, string>;
}

/** The devices that the daemon does not list as file systems. */
export async function findEncrypted(
  actions: ActionCalls,
  filesystems: readonly InspectedFilesystem[],
  openedAs: ReadonlyMap<string, string>,
  warnings: Warnings,
): Promise<UnlistedDevices> {
  const field = 'encrypted_devices';
  const partitions = await warnings.attempt({
    field,
    action: listPartitions.action,
    isCut: true,
    ask: () => actions.call(listPartitions, {}),
  });
  const drives = await warnings.attempt({
    field,
    action: listDevices.action,
    isCut: true,
    ask: () => actions.call(listDevices, {}),
  });
  const volumes = await warnings.attempt({ field, action: lvs.action, isCut: true, ask: () => actions.call(lvs, {}) });
  const arrays = await warnings.attempt({
    field,
    action: listMdDevices.action,
    isCut: true,
    ask: () => actions.call(listMdDevices, {}),
  });
  const known = new Set(filesystems.map(({ mountable }) => mountable));
  const others = [
    ...(drives?.devices ?? []),
    ...(partitions?.partitions ?? []),
    ...(volumes?.logvols ?? []),
    ...(arrays?.devices ?? []),
    ...openedAs.values(), // one can be in another
  ].filter((device) => !known.has(device));
  const candidates = fitting(others);
  warnings.leftOut(field, others.length - candidates.length);
  const encrypted: EncryptedDevice[] = [];
  const members = new Map<string, string>();
  for (const device of candidates) {
    const type =
      (
        await warnings.attempt({
          field,
          action: vfsType.action,
          ask: () => actions.call(vfsType, { mountable: device }),
        })
      )?.fstype ?? '';
    if (ENCRYPTED.has(type)) encrypted.push({ device, type, opened_as: openedAs.get(device) ?? '' });
    else if (type.endsWith('_member')) members.set(device, type);
  }
  return { encrypted, members };
}

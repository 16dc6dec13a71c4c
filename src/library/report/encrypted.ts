/** Encrypted devices, opened for reading with the keys that a request has. */
import { vfsType } from '../../../gen/calls/filesystem.js';
import { cryptsetupOpen, luksUuid } from '../../../gen/calls/luks.js';
import { lvmScan } from '../../../gen/calls/lvm.js';
import type { InspectKey, OpenedDevice } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { ActionCalls } from './actionCalls.js';
import type { Warnings } from './warnings.js';

/** Name for what is in a device: the one that systems give to theirs, so that their fstab says true. */
async function mappingName(actions: ActionCalls, device: string, index: number): Promise<string> {
  const { fstype } = await actions.call(vfsType, { mountable: device });
  if (fstype !== 'crypto_LUKS') return `inspected-${index}`;
  const { uuid } = await actions.call(luksUuid, { device });
  return `luks-${uuid}`;
}

/** Opens devices in the order of their keys; those that cannot be opened are warned of. */
export async function openEncrypted(actions: ActionCalls, keys: readonly InspectKey[], warnings: Warnings): Promise<OpenedDevice[]> {
  const opened: OpenedDevice[] = [];
  for (const [index, { device, key }] of keys.entries()) {
    const field = `keys[${index}]`;
    const mapname = await warnings.attempt({ field, action: 'vfs_type', ask: () => mappingName(actions, device, index) });
    if (mapname === undefined) continue;
    const done = await warnings.attempt({
      field, action: 'cryptsetup_open', ask: () => actions.call(cryptsetupOpen, { device, key, mapname, readonly: true, crypttype: undefined, cipher: undefined }),
    });
    if (done === undefined) continue;
    opened.push({ device, opened_as: `/dev/mapper/${mapname}` });
    // The next key may be for a volume that has just become visible.
    await warnings.attempt({ field, action: 'lvm_scan', ask: () => actions.call(lvmScan, { activate: true }) });
  }
  return opened;
}

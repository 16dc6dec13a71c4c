/** The first part of a report: the disks, and the roots of systems. */
import { listFilesystems, vfsLabel, vfsUuid } from '../../../gen/calls/filesystem.js';
import { inspectOs } from '../../../gen/calls/inspection.js';
import type {
  InspectedFilesystem,
  InspectedImage,
  InspectKey,
} from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { ActionCalls } from './actionCalls.js';
import { findEncrypted, openEncrypted } from './encrypted.js';
import { fitting, Room } from './limits.js';
import { describeDrives, sizeOfDevice } from './partitions.js';
import type { Warnings } from './warnings.js';

async function describeFilesystems(actions: ActionCalls, warnings: Warnings): Promise<InspectedFilesystem[]> {
  const found = await warnings.attempt({
    field: 'filesystems',
    action: listFilesystems.action,
    isCut: true,
    ask: () => actions.call(listFilesystems, {}),
  });
  const all = [...(found?.fses ?? [])];
  const listed = fitting(all);
  warnings.leftOut('filesystems', all.length - listed.length);
  const filesystems: InspectedFilesystem[] = [];
  const room = new Room();
  for (const [index, [mountable, type]] of listed.entries()) {
    const field = (name: string): string => `filesystems[${index}].${name}`;
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
  warnings.leftOut('filesystems', listed.length - filesystems.length);
  return filesystems;
}

/** Opens the devices that there are keys for, then lists everything. */
export async function describeImage(
  actions: ActionCalls,
  keys: readonly InspectKey[],
  warnings: Warnings,
): Promise<InspectedImage> {
  const openedAs = await openEncrypted(actions, keys, warnings);
  const { devices, partitions } = await describeDrives(actions, warnings);
  const filesystems = await describeFilesystems(actions, warnings);
  const found = await warnings.attempt({
    field: 'roots',
    action: inspectOs.action,
    isCut: true,
    ask: () => actions.call(inspectOs, {}),
  });
  const roots = fitting(found?.roots ?? []);
  warnings.leftOut('roots', (found?.roots.length ?? 0) - roots.length);
  const encrypted = await findEncrypted(actions, filesystems, openedAs, warnings);
  return { devices, partitions, filesystems, encrypted_devices: encrypted, roots: [...roots] };
}

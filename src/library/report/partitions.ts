/** Drives and their partitions. */
import { blockdevGetsize64, listDevices } from '../../../gen/calls/device.js';
import {
  listPartitions,
  partGetGptType,
  partGetMbrId,
  partGetName,
  partGetParttype,
  partList,
  partToDev,
  partToPartnum,
} from '../../../gen/calls/partition.js';
import type { InspectedDevice, InspectedPartition } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { Partition } from '../../../gen/proto/guestfs/v1/structs.js';
import type { ActionCalls } from './actionCalls.js';
import { fitting, Room } from './limits.js';
import { mendLostTables, mendTable } from './mending/tables.js';
import type { Warnings } from './warnings.js';

/** The partition table of a drive or an array, as far as it can be read. */
interface Table {
  readonly device: string;
  readonly kind: string;
  readonly partitions: ReadonlyMap<number, Partition>;
}

/** The size of a device in bytes. */
export async function sizeOfDevice(
  actions: ActionCalls,
  device: string,
  field: string,
  warnings: Warnings,
): Promise<bigint | undefined> {
  return (
    await warnings.attempt({
      field,
      action: blockdevGetsize64.action,
      ask: () => actions.call(blockdevGetsize64, { device }),
    })
  )?.sizeinbytes;
}

async function readOnce(actions: ActionCalls, device: string, field: string, warnings: Warnings): Promise<Table> {
  const kind = await warnings.attempt({
    field,
    action: partGetParttype.action,
    ask: () => actions.call(partGetParttype, { device }),
  });
  const list = await warnings.attempt({
    field,
    action: partList.action,
    isCut: true,
    ask: () => actions.call(partList, { device }),
  });
  return {
    device,
    kind: kind?.parttype ?? '',
    partitions: new Map(list?.partitions.map((partition) => [partition.part_num, partition])),
  };
}

/** Reads a table; one that cannot be read is mended first. */
async function readTable(actions: ActionCalls, device: string, field: string, warnings: Warnings): Promise<Table> {
  const first = warnings.aside();
  const table = await readOnce(actions, device, field, first);
  if (first.list.length === 0) return table;
  if (await mendTable(actions, device, field, warnings)) return readOnce(actions, device, field, warnings);
  warnings.take(first);
  return table;
}

/** Facts about a partition that only one type of table has. */
async function describeEntry(
  actions: ActionCalls,
  kind: string,
  device: string,
  partnum: number,
  field: string,
  warnings: Warnings,
): Promise<Pick<InspectedPartition, 'name' | 'gpt_type' | 'mbr_id'>> {
  const request = { device, partnum };
  if (kind === 'msdos') {
    const id = await warnings.attempt({
      field: `${field}.mbr_id`,
      action: partGetMbrId.action,
      ask: () => actions.call(partGetMbrId, request),
    });
    return { name: '', gpt_type: '', mbr_id: id?.idbyte };
  }
  if (kind !== 'gpt') return { name: '', gpt_type: '', mbr_id: undefined };
  const name = await warnings.attempt({
    field: `${field}.name`,
    action: partGetName.action,
    ask: () => actions.call(partGetName, request),
  });
  const type = await warnings.attempt({
    field: `${field}.gpt_type`,
    action: partGetGptType.action,
    ask: () => actions.call(partGetGptType, request),
  });
  return { name: name?.name ?? '', gpt_type: type?.guid ?? '', mbr_id: undefined };
}

/** The drives, and the partitions on them. */
export async function describeDrives(
  actions: ActionCalls,
  warnings: Warnings,
): Promise<{ devices: InspectedDevice[]; partitions: InspectedPartition[] }> {
  const names = await warnings.attempt({
    field: 'devices',
    action: listDevices.action,
    isCut: true,
    ask: () => actions.call(listDevices, {}),
  });
  const listAll = async (): Promise<readonly string[]> =>
    (
      await warnings.attempt({
        field: 'partitions',
        action: listPartitions.action,
        isCut: true,
        ask: () => actions.call(listPartitions, {}),
      })
    )?.partitions ?? [];
  const found = await listAll();
  const isMended = await mendLostTables(actions, names?.devices ?? [], found, warnings);
  const all = isMended ? await listAll() : found;
  const listed = fitting(all);
  warnings.leftOut('partitions', all.length - listed.length);
  const drives = fitting(names?.devices ?? []);
  warnings.leftOut('devices', (names?.devices.length ?? 0) - drives.length);

  const devices: InspectedDevice[] = [];
  for (const [index, device] of drives.entries()) {
    devices.push({
      device,
      size: await sizeOfDevice(actions, device, `devices[${index}].size`, warnings),
      partition_table: '',
    });
  }
  // For the last device only: partitions are listed by device, and a table can be as long as a message.
  let last: Table | undefined;
  const room = new Room();
  const partitions: InspectedPartition[] = [];
  for (const [index, partition] of listed.entries()) {
    const field = `partitions[${index}]`;
    const parent = await warnings.attempt({
      field,
      action: partToDev.action,
      ask: () => actions.call(partToDev, { partition }),
    });
    const number = await warnings.attempt({
      field,
      action: partToPartnum.action,
      ask: () => actions.call(partToPartnum, { partition }),
    });
    const device = parent?.device ?? '';
    const partnum = number?.partnum ?? 0;
    if (device !== '' && last?.device !== device) {
      const position = devices.findIndex((one) => one.device === device);
      const entry = devices[position]; // undefined for an array
      last = await readTable(
        actions,
        device,
        entry === undefined ? field : `devices[${position}].partition_table`,
        warnings,
      );
      if (!room.takes(last.kind)) break;
      if (entry !== undefined) entry.partition_table = last.kind;
    }
    const table = device === '' ? undefined : last;
    const place = table?.partitions.get(partnum);
    const details = await describeEntry(actions, table?.kind ?? '', device, partnum, field, warnings);
    const described = {
      partition,
      device,
      number: partnum,
      start: place?.part_start,
      size: place?.part_size,
      ...details,
    };
    if (!room.takes(described)) break;
    partitions.push(described);
  }
  warnings.leftOut('partitions', listed.length - partitions.length);
  return { devices, partitions };
}

/**
 * Drive letters of a Windows system. The daemon asks parted about all drives to find the disk of a letter, and gives
 * up at the first one that has no partition table. So the letters are taken out of the registry, on
 * the drive's overlay, and looked up here.
 */
import { preadDevice } from '../../../../gen/calls/device.js';
import { partGetGptGuid } from '../../../../gen/calls/partition.js';
import type { InspectedPartition } from '../../../../gen/proto/guestfs/v1/inspection_report.js';
import { unlessDaemonFails } from '../../tolerance.js';
import type { ActionCalls } from '../actionCalls.js';
import { REG_BINARY, REG_NONE, type Hive } from './hive.js';

/** A letter, and how the registry identifies its partition. */
export interface DriveLetter {
  readonly letter: string;
  readonly place: Buffer;
}

const NAME = /^\\DosDevices\\([A-Z]):$/i;
const DISK_ID_OFFSET = 0x1b8n;
const DISK_ID_LENGTH = 4;
const MBR_LENGTH = 12;
const GPT_PREFIX = Buffer.from('DMIO:ID:');
const GPT_LENGTH = 24;

/** Takes the letters out. */
export async function dropDriveLetters(hive: Hive): Promise<DriveLetter[]> {
  const node = await hive.node('MountedDevices');
  if (node === undefined) return [];
  const letters: DriveLetter[] = [];
  for (const { key, type, content } of await hive.values(node)) {
    const letter = NAME.exec(key)?.[1];
    if (letter === undefined || type !== REG_BINARY) continue;
    letters.push({ letter, place: content });
    await hive.set(node, { key, type: REG_NONE, content: Buffer.alloc(0) });
  }
  return letters;
}

/** A GUID as Windows stores it. */
function guidText(bytes: Buffer): string {
  const hex = (from: number, to: number): string => bytes.subarray(from, to).toString('hex');
  const swapped = (from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).reverse().toString('hex');
  return [swapped(0, 4), swapped(4, 6), swapped(6, 8), hex(8, 10), hex(10, 16)].join('-');
}

/** The device of each letter, where it is there. */
export async function mappingsOf(
  actions: ActionCalls,
  letters: readonly DriveLetter[],
  partitions: readonly InspectedPartition[],
): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  const idOf = async (device: string): Promise<string> => {
    const request = { device, count: DISK_ID_LENGTH, offset: DISK_ID_OFFSET };
    const id =
      ids.get(device) ?? (await unlessDaemonFails(actions.call(preadDevice, request)))?.content.toString('hex') ?? '';
    ids.set(device, id);
    return id;
  };
  const isAt = async (
    place: Buffer,
    { device, start, number, mbr_id, gpt_type }: InspectedPartition,
  ): Promise<boolean> => {
    if (place.length === MBR_LENGTH && mbr_id !== undefined)
      return (
        start === place.readBigUInt64LE(DISK_ID_LENGTH) &&
        (await idOf(device)) === place.subarray(0, DISK_ID_LENGTH).toString('hex')
      );
    if (place.length < GPT_LENGTH || !place.subarray(0, GPT_PREFIX.length).equals(GPT_PREFIX) || gpt_type === '')
      return false;
    const guid = await unlessDaemonFails(actions.call(partGetGptGuid, { device, partnum: number }));
    return guid?.guid.toLowerCase() === guidText(place.subarray(GPT_PREFIX.length, GPT_LENGTH));
  };
  const mappings = new Map<string, string>();
  for (const { letter, place } of letters)
    for (const partition of partitions) {
      if (!(await isAt(place, partition))) continue;
      mappings.set(letter, partition.partition);
      break;
    }
  return mappings;
}

/** A GPT partition table with two partitions. */
import { PartitionServiceService } from '../../gen/proto/guestfs/v1/partition.js';
import type { Guide } from '../guide.js';
import { bytes } from '../terminal/format.js';

export const DISK = '/dev/sda';
export const BOOT_PARTITION = '/dev/sda1';
export const LVM_PARTITION = '/dev/sda2';
/** In sectors of 512 bytes. */
export const BOOT_START = 2048n;
export const LVM_START = 264_192n;
const END_GAP = -2048n;
const LVM_TYPE = 'E6D6D379-F507-44C2-A23C-238F2A3DF928';

export async function partitions(guide: Guide): Promise<void> {
  await guide.call(PartitionServiceService.partInit, { device: DISK, parttype: 'gpt' }, 'GPT');
  await guide.call(
    PartitionServiceService.partAdd,
    { device: DISK, prlogex: 'p', startsect: BOOT_START, endsect: LVM_START - 1n },
    `${BOOT_PARTITION}, for /boot`,
  );
  await guide.call(
    PartitionServiceService.partAdd,
    { device: DISK, prlogex: 'p', startsect: LVM_START, endsect: END_GAP },
    `${LVM_PARTITION}, the rest`,
  );
  await guide.call(PartitionServiceService.partSetGptType, { device: DISK, partnum: 2, guid: LVM_TYPE }, 'for LVM');
  await guide.call(PartitionServiceService.partList, { device: DISK }, ({ partitions: list }) =>
    list
      .map(
        (partition) => `${DISK}${partition.part_num}: ${bytes(partition.part_size)} from byte ${partition.part_start}`,
      )
      .join('\n')
      .replace(/^/, '\n'),
  );
}

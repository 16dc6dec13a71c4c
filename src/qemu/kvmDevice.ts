/** The KVM device, and which users can open it. */
import { stat } from 'node:fs/promises';

export const KVM_DEVICE = '/dev/kvm';

/** Owner and permissions of the device. */
export interface KvmDevice {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly rdev: number;
}

/** The device's owner and permissions; undefined if there is no such device. */
export async function findKvmDevice(path: string = KVM_DEVICE): Promise<KvmDevice | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || !found.isCharacterDevice()) return undefined;
  return { uid: found.uid, gid: found.gid, mode: found.mode & 0o7777, rdev: found.rdev };
}

/**
 * Groups that an unprivileged user needs to open the device; undefined if no group
 * would help. Root's group is never granted.
 */
export function groupsForKvm(device: KvmDevice): readonly number[] | undefined {
  if ((device.mode & 0o006) === 0o006) return [];
  if ((device.mode & 0o060) === 0o060 && device.gid !== 0) return [device.gid];
  return undefined;
}

/** True for the name of a partition on this drive or array: /dev/sda1 on /dev/sda, /dev/md0p1 on /dev/md0. */
export function isPartOf(partition: string, device: string): boolean {
  return partition.startsWith(device) && /^p?[0-9]+$/.test(partition.slice(device.length));
}

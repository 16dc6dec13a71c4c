/** How Linux names disks: `/dev/sda` to `/dev/sdz`, `/dev/sdaa`, ... */
import { diskName } from '../launcher/appliance/applianceScripts.js';

const LETTERS = 26;
const FIRST = 'a'.charCodeAt(0);

/** The largest index that is returned; no machine has that many disks. */
const MAX_LENGTH = 6;

/** Name of the disk with an index, from 0. */
export function deviceNameOf(index: number): string {
  return `/dev/${diskName(index)}`;
}

/**
 * What follows the driver's part of a disk's name: `a1` of `/dev/sda1`, `/dev/hda1`, `/dev/vda1`
 * and `/dev/xvda1`; undefined for devices of other kinds, such as logical volumes and arrays.
 */
export function driveSuffixOf(device: string): string | undefined {
  if (!device.startsWith('/dev/')) return undefined;
  const name = device.slice('/dev/'.length);
  if (name.includes('/') || name.startsWith('m')) return undefined;
  const driver = name.search(/d|$/);
  return driver === 1 || driver === 2 ? name.slice(driver + 1) : undefined;
}

/** Index of a disk, from 0; undefined if it is not a name of a whole disk. */
export function driveIndexOf(device: string): number | undefined {
  const letters = driveSuffixOf(device);
  if (letters === undefined || letters.length > MAX_LENGTH || !/^[a-z]+$/.test(letters)) return undefined;
  return [...letters].reduce((index, letter) => (index + 1) * LETTERS + letter.charCodeAt(0) - FIRST, -1);
}

/** Drives on which the daemon finds nothing, although they have a partition table: it is for sectors of another size. */
import { blockdevGetss, preadDevice } from '../../gen/calls/device.js';
import { GuestfsError } from '../common/errors.js';
import type { Ask } from './ask.js';

const UNKNOWN = 'unknown';
const DRIVE = /^\/dev\/[hsv]d[a-z]+$/;
/** The rest of a long list is not looked at. */
const MAX_DRIVES = 16;
const SIGNATURE = Buffer.from('EFI PART');
const OTHER_SIZE: ReadonlyMap<number, number> = new Map([
  [512, 4096],
  [4096, 512],
]);

/**
 * What to do about a drive whose GPT is for sectors of another size; undefined for any other drive.
 * @throws GuestfsError for a drive that is too small for a GPT, for example
 */
export async function otherSectors(drive: string, ask: Ask): Promise<string | undefined> {
  const size = OTHER_SIZE.get((await ask(blockdevGetss, { device: drive })).sectorsize);
  if (size === undefined) return undefined;
  // The header is in the second sector.
  const { content } = await ask(preadDevice, { device: drive, count: SIGNATURE.length, offset: BigInt(size) });
  if (!content.equals(SIGNATURE)) return undefined;
  return `${drive} has a GPT for sectors of ${size} bytes: add the drive with blocksize ${size}`;
}

/** Warns of such drives in a list of file systems. */
export async function warnOfOtherSectors(response: unknown, ask: Ask, warn: (message: string) => void): Promise<void> {
  const { fses } = response as { readonly fses: ReadonlyMap<string, string> };
  const drives = [...fses].filter(([device, type]) => type === UNKNOWN && DRIVE.test(device)).slice(0, MAX_DRIVES);
  for (const [drive] of drives) {
    try {
      const found = await otherSectors(drive, ask);
      if (found !== undefined) warn(found);
    } catch (error) {
      // The list itself has been made.
      if (!(error instanceof GuestfsError)) throw error;
    }
  }
}

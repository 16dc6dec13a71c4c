/** The warning about a drive whose partition table is for sectors of another size. */
import { describe, expect, it } from '@jest/globals';
import { blockdevGetss, preadDevice } from '../../../gen/calls/device.js';
import { GuestfsError } from '../../../src/common/errors.js';
import type { Ask } from '../../../src/session/ask.js';
import { warnOfOtherSectors } from '../../../src/session/otherSectors.js';

/** By device, the size of its sectors and where its GPT is. */
type Drives = Readonly<Record<string, readonly [number, number | undefined]>>;

async function after(fses: Readonly<Record<string, string>>, drives: Drives) {
  const asked: string[] = [];
  const warnings: string[] = [];
  const ask: Ask = async (call, request) => {
    const { device, offset } = request as { device: string; offset?: bigint };
    asked.push(`${call.action} ${device}`);
    const drive = drives[device];
    if (drive === undefined) throw new GuestfsError('EIO', 'too small');
    if (call.action === blockdevGetss.action) return { sectorsize: drive[0] } as never;
    expect(call.action).toBe(preadDevice.action);
    return { content: Buffer.from(Number(offset) === drive[1] ? 'EFI PART' : 'elsewhere'.slice(0, 8)) } as never;
  };
  await warnOfOtherSectors({ fses: new Map(Object.entries(fses)) }, ask, (warning) => warnings.push(warning));
  return { warnings, asked };
}

describe('a list of file systems', () => {
  it('has a warning for each drive with a GPT for other sectors', async () => {
    const drives: Drives = { '/dev/sda': [512, 4096], '/dev/sdb': [4096, 512], '/dev/sdc': [512, undefined] };
    const unknown = { '/dev/sda': 'unknown', '/dev/sdb': 'unknown', '/dev/sdc': 'unknown', '/dev/sdd': 'unknown' };
    const { warnings } = await after(unknown, drives);
    expect(warnings).toEqual([
      '/dev/sda has a GPT for sectors of 4096 bytes: add the drive with blocksize 4096',
      '/dev/sdb has a GPT for sectors of 512 bytes: add the drive with blocksize 512',
    ]);
  });

  it('is asked about no other devices, and no more than sixteen', async () => {
    expect((await after({ '/dev/sda': 'ext4', '/dev/sdb1': 'unknown', '/dev/vg/a': 'unknown' }, {})).asked).toEqual([]);
    const many = Object.fromEntries(
      Array.from({ length: 26 }, (_, index) => [`/dev/sd${String.fromCharCode(97 + index)}`, 'unknown']),
    );
    expect((await after(many, {})).asked).toHaveLength(16);
  });
});

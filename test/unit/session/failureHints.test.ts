/** What is added to the daemon's messages. */
import { describe, expect, it } from '@jest/globals';
import { blockdevGetss } from '../../../gen/calls/device.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { hinted } from '../../../src/session/failureHints.js';

const after = async (message: string, kernel: string | Error = ''): Promise<GuestfsError> =>
  hinted(new GuestfsError('EINVAL', message, { metadata: { a: 'b' } }), (_call, _request) =>
    kernel instanceof Error ? Promise.reject(kernel) : Promise.resolve({ result: kernel } as never),
  );
const MOUNT =
  'mount: /sysroot: wrong fs type, bad option, bad superblock on /dev/sdb.\ndmesg(1) may have more information after failed mount system call.';

describe('an error of the daemon', () => {
  it('that refers to the log of the kernel has its last lines', async () => {
    expect(await after(MOUNT, '[1.0] EXT4-fs error\u0007')).toMatchObject({
      reason: 'EINVAL',
      message: expect.stringMatching(/^mount: [\s\S]*the last lines of the kernel's log:\n\[1\.0\] EXT4-fs error/),
      details: { metadata: { a: 'b' } },
    });
    expect((await after(MOUNT, new Error('gone'))).message).toBe(MOUNT);
  });

  it.each([
    [`${MOUNT}`, 'XFS (sdb): Filesystem has duplicate UUID 1 - can not mount', 'EINVAL', 'nouuid'],
    ['Multiple VGs found with the same name: skipping vg', '', 'EINVAL', 'lvm_set_filter'],
    ['Not enough available memory to open a keyslot.', '', 'OUT_OF_MEMORY', 'memsize'],
  ])('has a hint: %s', async (message, kernel, reason, hint) => {
    expect(await after(message, kernel)).toMatchObject({ reason, message: expect.stringContaining(hint) });
  });

  it.each([
    'parted: /dev/sda: Error: /dev/sda: unrecognised disk label',
    'mount: /sysroot: wrong fs type, bad option, bad superblock on /dev/sda, missing codepage or helper program, or other error.',
  ])('names the size of the sectors that a GPT was written for: %s', async (message) => {
    const withDrive = async (sectorsize: number, content: string | Error): Promise<GuestfsError> =>
      hinted(new GuestfsError('EINVAL', message), ({ action }) => {
        if (action === blockdevGetss.action) return Promise.resolve({ sectorsize } as never);
        return content instanceof Error
          ? Promise.reject(content)
          : Promise.resolve({ content: Buffer.from(content), result: '' } as never);
      });
    expect(await withDrive(512, 'EFI PART')).toMatchObject({
      reason: 'EINVAL',
      message: `${message}\n/dev/sda has a GPT for sectors of 4096 bytes: add the drive with blocksize 4096`,
    });
    for (const nothing of ['', 'rubbish', new Error('gone')])
      expect((await withDrive(512, nothing)).message).toBe(message);
    expect((await withDrive(1024, 'EFI PART')).message).toBe(message);
  });

  it('names the memory that a key slot lacks', async () => {
    const failed = 'cryptsetup exited with status 1: Keyslot open failed.';
    expect(await after(failed, '2097152 900000\n')).toMatchObject({
      reason: 'OUT_OF_MEMORY',
      message: expect.stringMatching(/^cryptsetup exited.*\nNot enough .* needs 2048 MiB\n.* larger memsize$/),
    });
    for (const other of ['0 900000', '900000 900000', '', 'x y', '99999999999 1', new Error('gone')])
      expect(await after(failed, other)).toMatchObject({ reason: 'EINVAL', message: failed });
  });

  it('does not speak of NILFS where there is no file system', async () => {
    const { message } = await after('mount.nilfs2: Error while mounting /dev/sda on /sysroot: Invalid argument');
    expect(message).toBe('there is no file system that can be mounted');
  });

  it('is left alone otherwise', async () => {
    const error = new GuestfsError('ENOENT', 'no such file');
    expect(await hinted(error, () => Promise.reject(new Error('not asked')))).toBe(error);
  });
});

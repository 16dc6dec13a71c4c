import { describe, expect, it } from '@jest/globals';
import { explainBlockError } from '../../../src/images/blockErrors.js';

const files = new Map([
  ['/dev/fdset/2', "image 'a.img'"],
  ['/dev/fdset/21', "image 'b.img'"],
  ['drive3-image', "image 'c.img'"],
  ['drive3', "image 'c.img'"],
]);
const lockMessage = (path: string): string =>
  `qemu-system-x86_64: -device scsi-hd,drive=drive9: Failed to get "write" lock\nIs another process using the image [${path}]?\n`;

describe('explainBlockError', () => {
  it.each([
    ['/dev/fdset/2', "image 'a.img' is in use"],
    ['/dev/fdset/21', "image 'b.img' is in use"],
  ])('a lock on %s', (path, words) => {
    expect(explainBlockError(lockMessage(path), files)).toMatchObject({
      reason: 'IMAGE_LOCKED',
      message: expect.stringContaining(words),
    });
  });

  it.each(['write', 'consistent read', 'resize'])(
    'a shared "%s" lock, as reported by QMP, for the drive that was added',
    (permission) => {
      expect(explainBlockError(`Failed to get shared "${permission}" lock`, files, "image 'c.img'")).toMatchObject({
        reason: 'IMAGE_LOCKED',
        message: expect.stringContaining("image 'c.img' is in use"),
      });
      expect(explainBlockError(`Failed to get shared "${permission}" lock`, files)).toMatchObject({
        reason: 'IMAGE_LOCKED',
        message: expect.stringContaining('an image of this session'),
      });
    },
  );

  it('a lock that a node of a restored machine did not get', () => {
    expect(explainBlockError('Block node is read-only', files, "image 'c.img'")).toMatchObject({
      reason: 'IMAGE_LOCKED',
      message: expect.stringContaining("image 'c.img' is in use"),
    });
  });

  it('another failure to open', () => {
    const error = explainBlockError(
      `qemu-system-x86_64: -blockdev {"driver":"qcow2","node-name":"drive0"}: Could not open '/dev/fdset/2': Image is corrupt`,
      files,
    );
    expect(error).toMatchObject({ reason: 'IMAGE_UNUSABLE' });
    expect(error?.message).toBe("image 'a.img' cannot be attached: Could not open it: Image is corrupt");
  });

  it.each([
    [
      `qemu-system-x86_64: -blockdev {"driver":"qcow2","node-name":"drive3-image","file":"drive3-file"}: Active L1 table too large`,
      'Active L1 table too large',
    ],
    [`qemu-system-x86_64: -device {"driver":"scsi-hd","drive":"drive3"}: no good`, 'no good'],
    [`a warning\nqemu-system-x86_64: -device scsi-hd,drive=drive3,id=x: no good\nmore`, 'no good'],
  ])('a failure that names a node: %s', (message, why) => {
    expect(explainBlockError(message, files)?.message).toBe(`image 'c.img' cannot be attached: ${why}`);
  });

  it('a lock is on the file that it names, whatever the device', () => {
    const message = `qemu-system-x86_64: -device scsi-hd,drive=drive3: Failed to get "write" lock\nIs another process using the image [/dev/fdset/21]?`;
    expect(explainBlockError(message, files)?.message).toContain("image 'b.img' is in use");
  });

  it('a failure that names no file, for the drive that was added', () => {
    expect(explainBlockError('Invalid L1 table offset', files, "image 'a.img'")?.message).toBe(
      "image 'a.img' cannot be attached: Invalid L1 table offset",
    );
  });

  it.each(['', 'qemu-system-x86_64: could not load kernel', "Could not open '/dev/fdset/3'"])(
    'nothing of ours: %p',
    (message) => {
      expect(explainBlockError(message, files)).toBeUndefined();
    },
  );
});

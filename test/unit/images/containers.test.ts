/** Files that contain a disk image: refused with what they are, unless the format is stated. */
import { describe, expect, it } from '@jest/globals';
import { recogniseImage } from '../../../src/images/recognise.js';
import { bytesInMemory, type ByteSource } from '../../../src/images/readFully.js';

const image = (start: Buffer): { handle: ByteSource; size: bigint } => {
  const bytes = Buffer.concat([start, Buffer.alloc(4096)]);
  return { handle: bytesInMemory(bytes), size: BigInt(bytes.length) };
};
const latin = (text: string): Buffer => Buffer.from(text, 'latin1');
const tar = (name: string): Buffer => Buffer.concat([latin(name.padEnd(257, '\0')), latin('ustar')]);

describe('a file that contains an image', () => {
  it.each([
    ['a gzip file', latin('\x1f\x8b\x08\x08')],
    ['an xz file', latin('\xfd7zXZ\0')],
    ['a Zstandard file', latin('\x28\xb5\x2f\xfd')],
    ['a bzip2 file', latin('BZh9')],
    ['an LZ4 file', latin('\x04\x22\x4d\x18')],
    ['an lzip file', latin('LZIP\x01')],
    ['an lzop file', latin('\x89LZO\0\r\n\x1a\n')],
    ['an LZMA file', latin(`\x5d\0\0\x80\0${'\xff'.repeat(8)}`)],
    ['a file of compress (.Z)', latin('\x1f\x9d\x90')],
    ['a zip archive', latin('PK\x03\x04')],
    ['a 7-Zip archive', latin('7z\xbc\xaf\x27\x1c')],
    ['a RAR archive', latin('Rar!\x1a\x07\x01\0')],
    ['an AFF image', latin('AFF10\r\n\0')],
    ['a Windows image (WIM)', latin('MSWIM\0\0\0')],
    ['an Android sparse image', latin('\x3a\xff\x26\xed')],
    ['a Partclone image', latin('partclone-image')],
    ['an EWF image', latin('EVF\x09\x0d\x0a\xff\0\x01')],
    ['a Proxmox backup (VMA)', latin('VMA\0')],
    ['a Zstandard file', latin('\x50\x2a\x4d\x18\x04\0\0\0')],
    ['an lrzip file', latin('LRZI\0\x06')],
    ['a zip archive of several parts', latin('PK\x07\x08PK\x03\x04')],
    ['a logical evidence file (L01)', latin('LVF\x09\x0d\x0a\xff\0\x01')],
    ['a logical image of FTK (AD1)', latin('ADSEGMENTEDFILE\0')],
    ['an encrypted image of FTK', latin('ADCRYPT\0')],
    ['an image of ntfsclone', latin('\0ntfsclone-image')],
    ['a Ghost image', latin('\xfe\xef\x01')],
    ['a sparse image of macOS', latin('sprs\0\0\0\x03')],
    ['a pointer of Git LFS', latin('version https://git-lfs.github.com/spec/v1\n')],
    ['a tar archive', tar('disk.img')],
    ['an OVA', tar('machine.ovf')],
  ])('is named: %s', async (what, start) => {
    await expect(recogniseImage(image(start), undefined, "image 'x'")).rejects.toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(`^image 'x' is ${what.replace(/[()]/g, '.')}.* first`),
    });
    await expect(recogniseImage(image(start), 'raw', "image 'x'")).resolves.toMatchObject({ format: 'raw' });
  });

  it.each([
    ['an XML file, such as the description of a machine', '<?xml version="1.0"?><Envelope/>', 'name the disk image'],
    ['the configuration of a VMware machine', '.encoding = "UTF-8"\n', 'name the disk image'],
    ['a web page', '<!DOCTYPE html><title>404</title>', 'download the image again'],
    ['a web page', '<html><body>Not found', 'download the image again'],
  ])('is named if it is %s in its place', async (what, start, remedy) => {
    await expect(recogniseImage(image(latin(start)), undefined, "image 'x'")).rejects.toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(`^image 'x' is ${what}, not a disk image: ${remedy}`),
    });
    await expect(recogniseImage(image(latin(start)), 'raw', "image 'x'")).resolves.toMatchObject({ format: 'raw' });
  });

  it('is recognised by its end if it is a disk image of macOS', async () => {
    const dmg = image(Buffer.alloc(512));
    const handle = bytesInMemory(Buffer.concat([Buffer.alloc(4096), latin('koly'), Buffer.alloc(508)]));
    await expect(recogniseImage({ handle, size: 4608n }, undefined, "image 'x'")).rejects.toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('state format dmg'),
    });
    await expect(recogniseImage({ handle, size: 4608n }, 'dmg', "image 'x'")).resolves.toMatchObject({ format: 'dmg' });
    await expect(recogniseImage(dmg, undefined, "image 'x'")).resolves.toMatchObject({ format: 'raw' });
  });

  it('is no other file', async () => {
    for (const start of ['', 'PK', 'ustar', 'VMB', '\x1f\x8b\0'])
      await expect(recogniseImage(image(latin(start)), undefined, "image 'x'")).resolves.toMatchObject({
        format: 'raw',
      });
  });
});

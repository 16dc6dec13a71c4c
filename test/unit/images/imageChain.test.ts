import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MAX_CHAIN_LENGTH, openImageChain, type ImageChain } from '../../../src/images/imageChain.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';
import { errorOf, makeScene, openFiles, overlayImage, qcow2Image, qemuImg, rawImage, type Scene } from './scene.js';

let scene: Scene;
let roots: ImageRoots;
beforeEach(() => {
  scene = makeScene();
  roots = { directories: [scene.root], backingFiles: true };
});
afterEach(() => scene.remove());

const inRoot = (name: string): string => join(scene.root, name);

const noClaim = (): void => undefined;

/** The description of a chain, without its files. */
async function chainOf(
  path: string,
  format?: string,
): Promise<{ path: string; format: string; size: bigint | undefined; data: string | undefined }[]> {
  const chain: ImageChain = await openImageChain(path, format, 'read-only', roots, noClaim);
  await chain.close();
  return chain.links.map((link) => ({
    path: link.image.path,
    format: link.format,
    size: link.virtualSize,
    data: link.dataFile?.path,
  }));
}

/** Fails to open it, and checks that nothing stays open. */
async function refusal(
  path: string,
  format?: string,
  access: 'read-only' | 'read-write' = 'read-only',
): Promise<{ reason: string; message: string }> {
  const before = openFiles();
  const error = await errorOf(openImageChain(path, format, access, roots, noClaim));
  expect(openFiles()).toBe(before);
  return error;
}

describe('one image', () => {
  it.each([
    [1, 512n],
    [512, 512n],
    [513, 1024n],
    [1 << 20, 1n << 20n],
  ])('raw of %d bytes', async (bytes, size) => {
    rawImage(inRoot('a.img'), bytes);
    for (const format of [undefined, 'raw']) {
      expect(await chainOf('a.img', format)).toEqual([{ path: inRoot('a.img'), format: 'raw', size, data: undefined }]);
    }
  });

  it('qcow2, recognised and stated', async () => {
    qcow2Image(inRoot('a.qcow2'), '3G');
    for (const format of [undefined, 'qcow2']) {
      expect(await chainOf('a.qcow2', format)).toEqual([
        { path: inRoot('a.qcow2'), format: 'qcow2', size: 3n << 30n, data: undefined },
      ]);
    }
  });

  it('stated raw is raw, whatever its content', async () => {
    overlayImage(inRoot('a.img'), '/etc/shadow');
    expect(await chainOf('a.img', 'raw')).toMatchObject([{ format: 'raw' }]);
  });

  it('a LUKS container is a raw drive', async () => {
    writeFileSync(inRoot('a.img'), Buffer.concat([Buffer.from('LUKS\xba\xbe\0\x01', 'latin1'), Buffer.alloc(1016)]));
    expect(await chainOf('a.img')).toMatchObject([{ format: 'raw', size: 1024n }]);
    expect(await refusal('a.img', 'luks')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('cryptsetup_open'),
    });
  });

  it.each([
    ['raw stated qcow2', 'qcow2', "is not in format 'qcow2': it looks like a raw image"],
    ['raw stated vdi', 'vdi', "is not in format 'vdi'"],
    ['a driver that is not a format', 'nbd', "in format 'nbd': known formats are raw, qcow2"],
    ['a driver that shows directories', 'vvfat', 'known formats are'],
    ['nonsense', 'toString', 'known formats are'],
  ])('refuses %s', async (_what, format, words) => {
    rawImage(inRoot('a.img'), 65536);
    expect(await refusal('a.img', format)).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining(words),
    });
  });

  it('refuses qcow2 stated as something else', async () => {
    qcow2Image(inRoot('a.img'), '1M');
    for (const format of ['vmdk', 'vpc']) {
      expect((await refusal('a.img', format)).message).toContain(
        `is not in format '${format}': it looks like format 'qcow2'`,
      );
    }
  });

  it('refuses a damaged header', async () => {
    qcow2Image(inRoot('a.img'), '1M');
    truncateSync(inRoot('a.img'), 40);
    expect(await refusal('a.img')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining("image 'a.img' is too short"),
    });
  });

  it('refuses qcow2 encryption', async () => {
    qcow2Image(inRoot('a.img'), '1M');
    const bytes = readFileSync(inRoot('a.img'));
    bytes.writeUInt32BE(1, 32);
    writeFileSync(inRoot('a.img'), bytes);
    expect((await refusal('a.img', 'qcow2')).message).toContain('by another method than LUKS');
    bytes.writeUInt32BE(2, 32);
    writeFileSync(inRoot('a.img'), bytes);
    expect((await refusal('a.img', 'qcow2')).message).toContain('the drive needs its passphrase as key');
    overlayImage(inRoot('over.img'), 'a.img', 'qcow2');
    expect((await refusal('over.img', 'qcow2')).message).toContain('which a backing file must not be');
  });

  it('is encrypted, if there is a key for it', async () => {
    qcow2Image(inRoot('plain.img'), '1M');
    const bytes = readFileSync(inRoot('plain.img'));
    bytes.writeUInt32BE(2, 32);
    writeFileSync(inRoot('a.img'), bytes);
    const open = (path: string): Promise<ImageChain> =>
      openImageChain(path, 'qcow2', 'read-only', roots, noClaim, undefined, undefined, { hasKey: true });
    const { links, close } = await open('a.img');
    expect(links).toMatchObject([{ encrypted: true }]);
    await close();
    expect((await errorOf(open('plain.img'))).message).toContain('is not encrypted in the qcow2 format');
  });

  it('permits reading, but not writing, an image that is marked as corrupt', async () => {
    qcow2Image(inRoot('a.img'), '1M');
    const bytes = readFileSync(inRoot('a.img'));
    bytes[79] = 2;
    writeFileSync(inRoot('a.img'), bytes);
    expect(await chainOf('a.img')).toHaveLength(1);
    expect((await refusal('a.img', undefined, 'read-write')).message).toContain('qemu-img check');
  });

  it('refuses to write formats that qemu only reads', async () => {
    rawImage(inRoot('a.dmg'), 4096);
    expect(await chainOf('a.dmg', 'dmg')).toMatchObject([{ format: 'dmg', size: undefined }]);
    expect((await refusal('a.dmg', 'dmg', 'read-write')).message).toContain('only be attached read-only');
  });

  it.each([
    ['qcow', 'qcow', []],
    ['qed', 'qed', []],
    ['vdi', 'vdi', []],
    ['vhdx', 'vhdx', []],
    ['vpc', 'vpc', []],
    ['vmdk', 'vmdk', []],
    ['streamed vmdk', 'vmdk', ['-o', 'subformat=streamOptimized']],
  ])('takes a complete %s', async (_what, format, options) => {
    qemuImg('create', '-q', '-f', format, ...options, inRoot('a.img'), '4M');
    expect(await chainOf('a.img')).toEqual([{ path: inRoot('a.img'), format, size: undefined, data: undefined }]);
  });

  it.each([
    ['qcow with a backing file', 'qcow', ['-u', '-b', '/etc/passwd', '-F', 'raw'], 'has a backing file'],
    ['qed with a backing file', 'qed', ['-u', '-b', '/etc/passwd', '-F', 'raw'], 'has a backing file'],
  ])('refuses %s', async (_what, format, options, words) => {
    qemuImg('create', '-q', '-f', format, ...options, inRoot('a.img'), '4M');
    expect((await refusal('a.img', format)).message).toContain(words);
  });

  it('takes the data of a flat vmdk, if its format is stated, from under the image roots only', async () => {
    qemuImg('create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', inRoot('a.vmdk'), '4M');
    expect(await chainOf('a.vmdk', 'vmdk')).toEqual([
      { path: inRoot('a-flat.vmdk'), format: 'raw', size: 4n << 20n, data: undefined },
    ]);
    expect((await refusal('a.vmdk')).message).toContain("attach it with format 'vmdk'");
    const descriptor = readFileSync(inRoot('a.vmdk'), 'utf8');
    for (const [from, to, reason] of [
      ['a-flat.vmdk', '/etc/passwd', 'OUTSIDE_IMAGE_ROOTS'],
      ['a-flat.vmdk', 'nbd:host', 'IMAGE_UNUSABLE'],
      ['parentCID=ffffffff', 'parentCID=1', 'IMAGE_UNUSABLE'],
    ] as const) {
      expect(descriptor).toContain(from);
      writeFileSync(inRoot('a.vmdk'), descriptor.replace(from, to));
      expect((await refusal('a.vmdk', 'vmdk')).reason).toBe(reason);
    }
    writeFileSync(inRoot('a.vmdk'), descriptor);
    roots = { directories: [scene.root] };
    expect((await refusal('a.vmdk', 'vmdk')).reason).toBe('NOT_ALLOWED');
  });
});

describe('a chain', () => {
  it('is opened from top to bottom', async () => {
    mkdirSync(inRoot('base'));
    mkdirSync(inRoot('top'));
    rawImage(inRoot('base/0.img'), 2 << 20);
    qemuImg('create', '-q', '-f', 'qcow2', '-b', '0.img', '-F', 'raw', inRoot('base/1.qcow2'));
    qemuImg('create', '-q', '-f', 'qcow2', '-b', '../base/1.qcow2', '-F', 'qcow2', inRoot('top/2.qcow2'));
    expect(await chainOf('top/2.qcow2', 'qcow2')).toEqual([
      { path: inRoot('top/2.qcow2'), format: 'qcow2', size: 2n << 20n, data: undefined },
      { path: inRoot('base/1.qcow2'), format: 'qcow2', size: 2n << 20n, data: undefined },
      { path: inRoot('base/0.img'), format: 'raw', size: 2n << 20n, data: undefined },
    ]);
  });

  it('has names relative to the real location of the overlay', async () => {
    mkdirSync(inRoot('sub'));
    rawImage(inRoot('sub/base.img'), 1 << 20);
    overlayImage(inRoot('sub/over.qcow2'), 'base.img');
    symlinkSync('sub/over.qcow2', inRoot('link'));
    expect((await chainOf('link', 'qcow2')).map((link) => link.path)).toEqual([
      inRoot('sub/over.qcow2'),
      inRoot('sub/base.img'),
    ]);
  });

  it('may use file:', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('over.qcow2'), `file:${inRoot('base.img')}`);
    expect(await chainOf('over.qcow2', 'qcow2')).toHaveLength(2);
  });

  it('is refused unless the server allows images that refer to others', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('over.qcow2'), 'base.img');
    qcow2Image(inRoot('a.qcow2'), '1M', '-o', `data_file=${inRoot('a.data')}`);
    for (const [name, what] of [
      ['over.qcow2', "image 'over.qcow2' has a backing file, 'base.img'"],
      ['a.qcow2', "image 'a.qcow2' keeps its data in another file"],
    ] as const) {
      const alone = { directories: roots.directories };
      const before = openFiles();
      expect(await errorOf(openImageChain(name, 'qcow2', 'read-only', alone, noClaim))).toMatchObject({
        reason: 'NOT_ALLOWED',
        message: expect.stringContaining(what),
        details: { metadata: { setting: '--allow backing-files' } },
      });
      expect(openFiles()).toBe(before);
    }
    await (await openImageChain('base.img', 'raw', 'read-only', roots, noClaim)).close();
  });

  it('is opened for writing at its top only', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('over.qcow2'), 'base.img');
    const chain = await openImageChain('over.qcow2', 'qcow2', 'read-write', roots, noClaim);
    const written = await Promise.allSettled(chain.links.map((link) => link.image.handle.write('QFI')));
    await chain.close();
    expect(written.map((one) => one.status)).toEqual(['fulfilled', 'rejected']);
  });

  it('can keep data in another file', async () => {
    qcow2Image(inRoot('a.qcow2'), '1M', '-o', `data_file=${inRoot('a.data')}`);
    qcow2Image(inRoot('b.qcow2'), '1M', '-o', `data_file=${inRoot('b.data')},data_file_raw=on`);
    expect(await chainOf('a.qcow2', 'qcow2')).toMatchObject([{ data: inRoot('a.data') }]);
    expect(await chainOf('b.qcow2', 'qcow2')).toMatchObject([{ data: inRoot('b.data') }]);
    const chain = await openImageChain('a.qcow2', 'qcow2', 'read-write', roots, noClaim);
    await chain.links[0].dataFile?.handle.write('x');
    await chain.close();
  });

  it('is not followed if the format was only recognised', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('over.img'), 'base.img');
    qcow2Image(inRoot('data.img'), '1M', '-o', `data_file=${inRoot('d')}`);
    expect(await refusal('over.img')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(/'base.img'.*format was not stated.*format 'qcow2'/),
    });
    expect(await refusal('data.img')).toMatchObject({ message: expect.stringContaining('format was not stated') });
  });

  it('needs the backing format stated', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('over.img'), 'base.img', null);
    expect(await refusal('over.img', 'qcow2')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(/does not state the format.*'base.img'.*qemu-img rebase/),
    });
  });

  it('has the backing formats that the client states, where the images do not', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('middle.img'), 'base.img', null);
    overlayImage(inRoot('upper.img'), 'middle.img', 'qcow2');
    overlayImage(inRoot('top.img'), 'upper.img', null);
    const open = (...backingFormats: string[]): Promise<ImageChain> =>
      openImageChain('top.img', 'qcow2', 'read-only', roots, noClaim, undefined, undefined, { backingFormats });
    const { links, close } = await open('qcow2', 'raw');
    expect(links.map(({ format }) => format)).toEqual(['qcow2', 'qcow2', 'qcow2', 'raw']);
    await close();
    expect((await errorOf(open('qcow2'))).message).toMatch(/does not state the format .*'base.img'.*backing_formats/);
    expect((await errorOf(open('qcow2', 'raw', 'raw'))).message).toContain('1 too many');
    expect((await errorOf(open('vmdk', 'raw'))).message).toContain("is not in format 'vmdk'");
    // A guest can have made this reference.
    expect(
      (
        await errorOf(
          openImageChain('top.img', undefined, 'read-only', roots, noClaim, undefined, undefined, {
            backingFormats: ['qcow2', 'raw'],
          }),
        )
      ).message,
    ).toContain('format was not stated');
  });

  it('is trusted about the backing format: raw is not inspected', async () => {
    // What a guest wrote into its raw disk looks like an overlay on a file of the host.
    overlayImage(inRoot('base.img'), '/etc/shadow');
    overlayImage(inRoot('over.img'), 'base.img', 'raw');
    expect((await chainOf('over.img', 'qcow2')).map((link) => link.format)).toEqual(['qcow2', 'raw']);
  });

  it.each([
    ['outside', '<out>/secret', 'OUTSIDE_IMAGE_ROOTS', "backing file '<out>/secret' of image 'over.img'"],
    ['outside and missing', '<out>/nothing', 'OUTSIDE_IMAGE_ROOTS', 'is not under an image root'],
    ['outside by dots', '../out/secret', 'OUTSIDE_IMAGE_ROOTS', 'is not under an image root'],
    ['outside through a link', 'trap', 'OUTSIDE_IMAGE_ROOTS', 'is not under an image root'],
    ['outside with file:', 'file:<out>/secret', 'OUTSIDE_IMAGE_ROOTS', 'is not under an image root'],
    ['missing', 'gone.img', 'IMAGE_MISSING', "backing file 'gone.img' of image 'over.img' does not exist"],
    ['a directory', '.', 'IMAGE_UNUSABLE', 'is a directory'],
    ['a pipe', 'pipe', 'IMAGE_UNUSABLE', 'is a named pipe'],
    ['itself', 'over.img', 'IMAGE_UNUSABLE', 'leads back'],
    ['json:', 'json:{"driver":"file","filename":"/etc/shadow"}', 'IMAGE_UNUSABLE', 'is not a plain file name'],
    ['nbd:', 'nbd:localhost:10809', 'IMAGE_UNUSABLE', 'is not a plain file name'],
    ['http:', 'http://localhost/base.img', 'IMAGE_UNUSABLE', 'is not a plain file name'],
    ['fat:', 'fat:rw:/etc', 'IMAGE_UNUSABLE', 'is not a plain file name'],
    ['host_device:', 'host_device:/dev/sda', 'IMAGE_UNUSABLE', 'is not a plain file name'],
    ['file:json:', 'file:json:{}', 'IMAGE_UNUSABLE', 'is not a plain file name'],
  ])('refuses a backing file that is %s', async (_what, backing, reason, words) => {
    const fill = (text: string): string => text.replaceAll('<out>', scene.outside);
    writeFileSync(join(scene.outside, 'secret'), 'secret');
    symlinkSync(join(scene.outside, 'secret'), inRoot('trap'));
    execFileSync('mkfifo', [inRoot('pipe')]);
    overlayImage(inRoot('over.img'), fill(backing), backing === 'over.img' ? 'qcow2' : 'raw');
    expect(await refusal('over.img', 'qcow2')).toMatchObject({ reason, message: expect.stringContaining(fill(words)) });
    // The same, one level down.
    overlayImage(inRoot('upper.img'), 'over.img', 'qcow2');
    expect((await refusal('upper.img', 'qcow2')).reason).toBe(reason);
  });

  it.each([
    ['outside', '<out>/secret', 'OUTSIDE_IMAGE_ROOTS'],
    ['outside by dots', '../out/secret', 'OUTSIDE_IMAGE_ROOTS'],
    ['json:', 'json:{"driver":"file","filename":"/etc/shadow"}', 'IMAGE_UNUSABLE'],
    ['nbd:', 'nbd:localhost:1', 'IMAGE_UNUSABLE'],
    ['a pipe', 'pipe', 'IMAGE_UNUSABLE'],
    ['not named at all', undefined, 'IMAGE_UNUSABLE'],
  ])('refuses a data file that is %s', async (_what, file, reason) => {
    writeFileSync(join(scene.outside, 'secret'), 'secret');
    execFileSync('mkfifo', [inRoot('pipe')]);
    qcow2Image(inRoot('a.img'), '1M', '-o', `data_file=${inRoot('d'.repeat(60))}`);
    // qemu-img would open the file, so the name is written afterwards.
    const bytes = readFileSync(inRoot('a.img'));
    const extension = bytes.indexOf(Buffer.from('DATA'));
    const name = Buffer.from((file ?? '').replace('<out>', scene.outside));
    bytes.fill(0, extension + 8, 1024);
    if (file === undefined) bytes.writeUInt32BE(0x11111111, extension);
    bytes.writeUInt32BE(name.length, extension + 4);
    name.copy(bytes, extension + 8);
    writeFileSync(inRoot('a.img'), bytes);
    expect(await refusal('a.img', 'qcow2')).toMatchObject({ reason });
    overlayImage(inRoot('upper.img'), 'a.img', 'qcow2');
    expect(await refusal('upper.img', 'qcow2')).toMatchObject({ reason });
  });

  it('has a bounded length', async () => {
    rawImage(inRoot('0'), 1 << 20);
    for (let level = 1; level <= MAX_CHAIN_LENGTH; level++)
      overlayImage(inRoot(String(level)), String(level - 1), level === 1 ? 'raw' : 'qcow2');
    expect(await chainOf(String(MAX_CHAIN_LENGTH - 1), 'qcow2')).toHaveLength(MAX_CHAIN_LENGTH);
    expect(await refusal(String(MAX_CHAIN_LENGTH), 'qcow2')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining(`more than ${MAX_CHAIN_LENGTH} images`),
    });
  });

  it('keeps messages short, however deep and long the names', async () => {
    const long = 'n'.repeat(250);
    mkdirSync(inRoot(long));
    overlayImage(inRoot(`${long}/0`), 'x'.repeat(1000));
    for (let level = 1; level < 10; level++)
      overlayImage(inRoot(`${long}/${level}`), `${'./'.repeat(300)}${level - 1}`, 'qcow2');
    expect((await refusal(`${long}/9`, 'qcow2')).message.length).toBeLessThan(1500);
  });
});

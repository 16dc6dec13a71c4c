import { readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  diskFormat,
  diskHasBackingFile,
  diskVirtualSize,
  type DiskQueryContext,
} from '../../../src/images/diskQueries.js';
import { unusableImage } from '../../../src/images/recognise.js';
import { errorOf, makeScene, openFiles, overlayImage, qcow2Image, qemuImg, rawImage, type Scene } from './scene.js';

let scene: Scene;
let context: DiskQueryContext;
let probed: string[];
beforeEach(() => {
  scene = makeScene();
  probed = [];
  context = {
    imageRoots: { directories: [scene.root], backingFiles: true },
    signal: new AbortController().signal,
    probe: (_image, format, subject) => {
      probed.push(format);
      return subject.includes('bad') ? Promise.reject(unusableImage(subject, 'is bad')) : Promise.resolve(77n);
    },
  };
});
afterEach(() => scene.remove());

const inRoot = (name: string): string => join(scene.root, name);
const ask = async (name: string): Promise<[string, bigint, boolean]> => {
  const before = openFiles();
  const answer = [
    await diskFormat(name, context),
    await diskVirtualSize(name, context),
    await diskHasBackingFile(name, context),
  ] as [string, bigint, boolean];
  expect(openFiles()).toBe(before);
  return answer;
};

describe('what an image is', () => {
  it('raw', async () => {
    rawImage(inRoot('a'), 1000);
    expect(await ask('a')).toEqual(['raw', 1024n, false]);
  });

  it('empty', async () => {
    rawImage(inRoot('a'), 0);
    expect(await ask('a')).toEqual(['raw', 0n, false]);
  });

  it('qcow2, larger than a number holds exactly', async () => {
    qcow2Image(inRoot('a'), '1T');
    expect(await ask('a')).toEqual(['qcow2', 1n << 40n, false]);
  });

  it('an overlay, even if what lies under it is gone or not allowed', async () => {
    overlayImage(inRoot('a'), '/etc/shadow');
    overlayImage(inRoot('b'), 'gone', null);
    expect(await ask('a')).toEqual(['qcow2', 1n << 20n, true]);
    expect(await ask('b')).toEqual(['qcow2', 1n << 20n, true]);
  });

  it('luks: the size is that of what is inside', async () => {
    const container = Buffer.alloc(8192);
    container.write('LUKS\xba\xbe\0\x01', 'latin1');
    container.writeUInt32BE(6144 / 512, 104);
    writeFileSync(inRoot('a'), container);
    expect(await ask('a')).toEqual(['luks', 2048n, false]);
  });

  it('foreign formats are put to qemu', async () => {
    qemuImg('create', '-q', '-f', 'vdi', inRoot('a'), '1M');
    qemuImg('create', '-q', '-f', 'qed', '-u', '-b', '/x', '-F', 'raw', inRoot('b'), '1M');
    expect(await ask('a')).toEqual(['vdi', 77n, false]);
    expect(await ask('b')).toEqual(['qed', 77n, true]);
    expect(probed).toEqual(['vdi', 'vdi', 'qed', 'qed']);
    qemuImg('create', '-q', '-f', 'vdi', inRoot('bad'), '1M');
    expect(await errorOf(diskFormat('bad', context))).toMatchObject({ reason: 'IMAGE_UNUSABLE' });
  });

  it.each(['monolithicFlat', 'twoGbMaxExtentSparse'])(
    'extents of a VMDK (%s) are counted, and need not be there',
    async (subformat) => {
      qemuImg('create', '-q', '-f', 'vmdk', '-o', `subformat=${subformat}`, inRoot('a'), '3G');
      for (const name of readdirSync(scene.root)) if (name !== 'a') unlinkSync(inRoot(name));
      expect(await ask('a')).toEqual(['vmdk', 3n << 30n, false]);
      expect(probed).toEqual([]);
    },
  );

  it('a VMDK that names no extents is damaged', async () => {
    writeFileSync(inRoot('a'), '# Disk DescriptorFile\nversion=1\nRW x FLAT "b" 0\n');
    expect(await errorOf(diskVirtualSize('a', context))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('names no extents'),
    });
  });

  it('a VMDK whose descriptor lies beyond any file is damaged', async () => {
    const header = Buffer.alloc(512);
    header.write('KDMV\x01', 'latin1');
    header.writeBigUInt64LE(2n ** 63n, 28);
    writeFileSync(inRoot('a'), header);
    for (const question of [diskFormat, diskVirtualSize])
      expect(await errorOf(question('a', context))).toMatchObject({
        reason: 'IMAGE_UNUSABLE',
        message: expect.stringContaining('its descriptor lies too far inside'),
      });
  });

  it.each([
    ['gone', 'IMAGE_MISSING'],
    ['/etc/passwd', 'OUTSIDE_IMAGE_ROOTS'],
    ['.', 'IMAGE_UNUSABLE'],
    ['damaged', 'IMAGE_UNUSABLE'],
  ])('refuses %s', async (name, reason) => {
    writeFileSync(inRoot('damaged'), Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'));
    for (const question of [diskFormat, diskVirtualSize, diskHasBackingFile]) {
      expect(await errorOf(question(name, context))).toMatchObject({ reason });
    }
  });
});

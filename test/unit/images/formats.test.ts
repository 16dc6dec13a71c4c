import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { isImageFormat, SNIFF_LENGTH, sniffFormat } from '../../../src/images/formats.js';
import { readFully } from '../../../src/images/readFully.js';
import { makeScene, qemuImg, rawImage, type Scene } from './scene.js';

let scene: Scene;
beforeAll(() => {
  scene = makeScene();
});
afterAll(() => scene.remove());

async function sniff(path: string): Promise<string> {
  const file = await open(path);
  try {
    return sniffFormat(await readFully(file, 0, SNIFF_LENGTH));
  } finally {
    await file.close();
  }
}

describe('sniffFormat', () => {
  it.each(['raw', 'qcow2', 'qcow', 'qed', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'])(
    'recognises %s as created by qemu-img',
    async (format) => {
      const path = join(scene.root, `x.${format}`);
      qemuImg('create', '-q', '-f', format, path, '4M');
      expect(await sniff(path)).toBe(format);
      // qemu agrees.
      expect(JSON.parse(qemuImg('info', '--output=json', path))).toMatchObject({ format });
    },
  );

  it('recognises LUKS, like qemu, in version 1 only', () => {
    expect(sniffFormat(Buffer.from('LUKS\xba\xbe\0\x01', 'latin1'))).toBe('luks');
    expect(sniffFormat(Buffer.from('LUKS\xba\xbe\0\x02', 'latin1'))).toBe('raw');
  });

  it('recognises a VMDK descriptor', async () => {
    const path = join(scene.root, 'flat.vmdk');
    qemuImg('create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', path, '1M');
    expect(await sniff(path)).toBe('vmdk');
  });

  it.each([0, 1, 3, 7])('treats %d bytes as raw', async (bytes) => {
    expect(await sniff(rawImage(join(scene.root, 'tiny'), bytes))).toBe('raw');
    expect(sniffFormat(Buffer.from('QFI\xfb\0\0\0', 'latin1').subarray(0, bytes))).toBe('raw');
  });
});

describe('isImageFormat', () => {
  it.each([
    'nbd',
    'http',
    'vvfat',
    'file',
    'host_device',
    'blkdebug',
    'json',
    'null-co',
    'luks',
    '',
    'QCOW2',
    'toString',
  ])('refuses %p', (name) => {
    expect(isImageFormat(name)).toBe(false);
  });
});

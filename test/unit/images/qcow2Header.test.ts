import { open } from 'node:fs/promises';
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { BadImageHeader } from '../../../src/images/badImageHeader.js';
import { readQcow2Header, type Qcow2Header } from '../../../src/images/qcow2Header.js';
import { makeScene, overlayImage, qcow2Image, qemuImg, type Scene } from './scene.js';

let scene: Scene;
let path: string;
beforeEach(() => {
  scene = makeScene();
  path = join(scene.root, 'x.qcow2');
});
afterEach(() => scene.remove());

async function read(): Promise<Qcow2Header> {
  const file = await open(path);
  try {
    return await readQcow2Header(file);
  } finally {
    await file.close();
  }
}

function patch(offset: number, ...bytes: number[]): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.from(bytes), 0, bytes.length, offset);
  closeSync(fd);
}

describe('readQcow2Header', () => {
  it.each([
    ['1.1', 3],
    ['0.10', 2],
  ])('reads compat %s', async (compat, version) => {
    qcow2Image(path, '5G', '-o', `compat=${compat}`);
    expect(await read()).toEqual({
      version,
      virtualSize: 5n << 30n,
      backing: undefined,
      dataFile: undefined,
      encryption: 'none',
      corrupt: false,
      snapshots: false,
    });
  });

  it.each([
    ['1.1', 'base.img', 'raw'],
    ['0.10', '/abs/base.qcow2', 'qcow2'],
    ['1.1', 'json:{"driver":"file","filename":"/etc/shadow"}', 'raw'],
    ['1.1', 'x'.repeat(1023), 'raw'],
    ['1.1', 'bäse', 'raw'],
  ])('reads the backing file: compat %s, %s', async (compat, file, format) => {
    qemuImg('create', '-q', '-f', 'qcow2', '-u', '-o', `compat=${compat}`, '-b', file, '-F', format, path, '1M');
    expect((await read()).backing).toEqual({ file, format });
  });

  it('reports a missing backing format', async () => {
    overlayImage(path, 'base', null);
    expect((await read()).backing).toEqual({ file: 'base', format: undefined });
  });

  it.each([
    [512, 'smallest'],
    [2097152, 'largest'],
  ])('reads clusters of %d bytes (%s)', async (size) => {
    qemuImg('create', '-q', '-f', 'qcow2', '-u', '-o', `cluster_size=${size}`, '-b', 'b', '-F', 'raw', path, '1M');
    expect((await read()).backing).toEqual({ file: 'b', format: 'raw' });
  });

  it('reads the data file', async () => {
    const data = join(scene.root, 'data');
    qcow2Image(path, '1M', '-o', `data_file=${data},data_file_raw=on`);
    expect((await read()).dataFile).toEqual({ file: data, raw: true });
  });

  it('reads the flags', async () => {
    qcow2Image(path, '1M');
    patch(79, 2);
    expect(await read()).toMatchObject({ corrupt: true, encryption: 'none' });
    patch(35, 1);
    expect(await read()).toMatchObject({ encryption: 'other' });
  });

  it.each([
    ['version', 7, [9], 'version 9'],
    ['cluster size too large', 23, [22], 'cluster size'],
    ['cluster size too small', 23, [8], 'cluster size'],
    ['unknown feature', 72, [1], 'features'],
    ['header length', 100, [0, 0, 0, 8], 'length 8'],
    ['header longer than a cluster', 100, [0, 2, 0, 0], 'length'],
    ['backing name inside the header', 8, [0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 4], 'backing file'],
    ['backing name behind the first cluster', 8, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4], 'backing file'],
    ['backing name far away', 8, [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 4], 'backing file'],
    ['backing name too long', 8, [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 4, 0], 'backing file'],
    ['extension too long', 112, [0x12, 0x34, 0x56, 0x78, 255, 255, 255, 255], 'extension'],
    ['extension over the end', 112, [0x12, 0x34, 0x56, 0x78, 0, 1, 0, 0], 'extension'],
  ])('refuses a damaged one: %s', async (_what, offset, bytes, words) => {
    qcow2Image(path, '1M');
    patch(offset, ...bytes);
    const error = await read().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(BadImageHeader);
    expect((error as Error).message).toContain(words);
  });

  it.each([8, 71, 103])('refuses one that ends after %d bytes', async (length) => {
    qcow2Image(path, '1M');
    truncateSync(path, length);
    await expect(read()).rejects.toThrow(BadImageHeader);
  });

  it('refuses names that are not UTF-8, and ends names at a NUL as qemu does', async () => {
    overlayImage(path, 'name.img');
    const offset = Number((await readAt(8, 8)).readBigUInt64BE());
    patch(offset + 4, 0);
    expect((await read()).backing?.file).toBe('name');
    patch(offset, 0xff);
    await expect(read()).rejects.toThrow('not UTF-8');
  });

  it('throws no other errors on random bytes', async () => {
    overlayImage(path, 'base');
    const sound = readFileSync(path).subarray(0, 65536);
    for (let seed = 1; seed <= 500; seed++) {
      let state = seed;
      const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
      const noisy = Buffer.from(sound);
      for (let change = 0; change < 6; change++) noisy[8 + random(150)] = random(256);
      writeFileSync(path, noisy);
      const result = await read().catch((thrown: unknown) => thrown);
      if ((result as { message?: string }).message !== undefined)
        expect({ seed, result }).toEqual({ seed, result: expect.any(BadImageHeader) });
    }
  });
});

async function readAt(position: number, length: number): Promise<Buffer> {
  const file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, position);
  await file.close();
  return buffer;
}

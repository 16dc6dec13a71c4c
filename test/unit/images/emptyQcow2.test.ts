import { execFileSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { HEAD_UNIT, MAX_QCOW2_SIZE, writeEmptyQcow2, writeQcow2Head } from '../../../src/images/emptyQcow2.js';
import { makeScene, qemuImg, type Scene } from './scene.js';

let scene: Scene;
beforeEach(() => {
  scene = makeScene();
});
afterEach(() => scene.remove());

describe('writeEmptyQcow2', () => {
  it.each([
    ['one sector', 512n],
    ['a GiB', 1n << 30n],
    ['one L1 cluster, full', 4n << 40n],
    ['two L1 clusters', (4n << 40n) + 512n],
    ['the largest', MAX_QCOW2_SIZE],
  ])('creates an image that passes qemu-img check: %s', async (_what, size) => {
    const path = join(scene.root, 'x.qcow2');
    const file = await open(path, 'wx+');
    await writeEmptyQcow2(file, size);
    await file.close();
    expect(JSON.parse(qemuImg('check', '--output=json', path))).toMatchObject({ 'check-errors': 0 });
    expect(JSON.parse(qemuImg('check', '--output=json', path))).not.toHaveProperty('leaks');
    expect(JSON.parse(qemuImg('info', '--output=json', path))).toMatchObject({
      format: 'qcow2',
      'virtual-size': Number(size),
    });
    expect(statSync(path).blocks * 512).toBeLessThan(64 * 1024);
    // It accepts data.
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P 7 ${size - 512n} 512`, path]);
    expect(JSON.parse(qemuImg('check', '--output=json', path))).toMatchObject({
      'check-errors': 0,
      'allocated-clusters': 1,
    });
  });

  it.each([
    ['nothing but its head', 512n, 512],
    ['one unit', 1n << 30n, HEAD_UNIT],
    ['many units, and two L1 clusters', (4n << 40n) + 512n, 32 * HEAD_UNIT],
  ])('creates one that begins with the given data: %s', async (_what, size, length) => {
    const path = join(scene.root, 'x.qcow2');
    const file = await open(path, 'wx+');
    await writeQcow2Head(file, size, Buffer.alloc(length, 'h'));
    await file.close();
    expect(JSON.parse(qemuImg('check', '--output=json', path))).toMatchObject({
      'check-errors': 0,
      'allocated-clusters': Math.ceil(length / HEAD_UNIT),
    });
    expect(JSON.parse(qemuImg('check', '--output=json', path))).not.toHaveProperty('leaks');
    const read = (pattern: number, offset: bigint | number, count: number): string =>
      execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', `read -P ${pattern} ${offset} ${count}`, path], {
        encoding: 'utf8',
      });
    expect(read('h'.charCodeAt(0), 0, length)).not.toContain('failed');
    if (size > length) expect(read(0, length, 512) + read(0, size - 512n, 512)).not.toContain('failed');
  });

  it('refuses more than qcow2 can hold', async () => {
    const file = await open(join(scene.root, 'x.qcow2'), 'wx+');
    await expect(writeEmptyQcow2(file, MAX_QCOW2_SIZE + 1n)).rejects.toThrow(RangeError);
    await file.close();
  });
});

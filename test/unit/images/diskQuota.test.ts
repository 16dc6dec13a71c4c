/** Limits on how much a client may write to files of the host in total. */
import { setMaxListeners } from 'node:events';
import { linkSync, mkdirSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDisk } from '../../../src/images/createDisk.js';
import { DiskQuotas, type DiskQuota } from '../../../src/images/diskQuota.js';
import type { Drive } from '../../../src/images/drive.js';
import { ImageClaims, ImageUses } from '../../../src/images/imageUses.js';
import { prepareDrives } from '../../../src/images/prepareDrives.js';
import { LateFdSets } from '../../../src/qemu/fdSender.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';
import {
  errorOf,
  fileDrive,
  makeScene,
  openFiles,
  qcow2Image,
  qemuImg,
  rawImage,
  scratchDrive,
  type Scene,
} from './scene.js';

const MIB = 1 << 20;
const { signal } = new AbortController();
setMaxListeners(100, signal);

let scene: Scene;
let roots: ImageRoots;
let before: number;
beforeEach(() => {
  scene = makeScene();
  roots = { directories: [scene.root] };
  before = openFiles();
});
afterEach(() => {
  expect(openFiles()).toBe(before);
  scene.remove();
});

const inRoot = (name: string): string => join(scene.root, name);
const quotaOf = (bytes: number | undefined, client = 'a', quotas = new DiskQuotas(bytes)): DiskQuota =>
  quotas.of({ client, imageRoots: roots, limits: {} });
const bytes = (count: number) => [{ bytes: BigInt(count) }];
/** The exact number of bytes left of a quota. */
async function left(quota: DiskQuota): Promise<number> {
  let [low, high] = [0, 64 * MIB];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const fits = await quota.reserve(bytes(middle), signal).then(
      ([one]) => {
        one?.release();
        return true;
      },
      () => false,
    );
    if (fits) low = middle;
    else high = middle - 1;
  }
  return low;
}

describe('the files of a client', () => {
  it('count with their length, or the space that they take', async () => {
    rawImage(inRoot('sparse.img'), 3 * MIB);
    expect(await left(quotaOf(4 * MIB))).toBe(MIB);
    writeFileSync(inRoot('small'), 'x');
    expect(await left(quotaOf(4 * MIB))).toBe(MIB - 4096);
  });

  it('count once, whatever their names, and with their directories', async () => {
    mkdirSync(inRoot('dir'));
    rawImage(inRoot('dir/a.img'), MIB);
    linkSync(inRoot('dir/a.img'), inRoot('b.img'));
    roots = { directories: [scene.root, inRoot('dir')] };
    expect(await left(quotaOf(4 * MIB))).toBe(3 * MIB - 4096);
  });

  it('are those in directories that it may write to', async () => {
    for (const name of ['own', 'own/base', 'other']) {
      mkdirSync(inRoot(name));
      rawImage(inRoot(`${name}/a.img`), MIB);
    }
    rawImage(join(scene.outside, 'big.img'), 3 * MIB);
    symlinkSync(scene.outside, inRoot('own/link'));
    roots = { directories: [inRoot('own'), inRoot('own/base')], readOnly: new Set([inRoot('own/base')]) };
    // The link itself takes space, but is not followed.
    expect(await left(quotaOf(4 * MIB))).toBe(3 * MIB - 4096);
  });

  it('do not count where there is no limit', async () => {
    rawImage(inRoot('a.img'), 3 * MIB);
    const [one] = await quotaOf(undefined).reserve(bytes(2 ** 50), signal);
    one?.release();
  });
});

describe('a reservation', () => {
  it('counts until it is released, for its client only', async () => {
    const quotas = new DiskQuotas(MIB);
    const [mine, other] = [quotaOf(MIB, 'a', quotas), quotaOf(MIB, 'b', quotas)];
    const [held] = await mine.reserve(bytes(MIB), signal);
    const error = await errorOf(mine.reserve(bytes(1), signal));
    expect(error).toMatchObject({
      reason: 'LIMIT_EXCEEDED',
      details: { metadata: { limit: 'max-disk-bytes-per-client', maximum: String(MIB) } },
    });
    expect(error.message).toContain('--max-disk-bytes-per-client');
    expect(await left(other)).toBe(MIB);
    held?.release();
    held?.release();
    expect(await left(mine)).toBe(MIB);
  });

  it('covers all of its files or none, and never exceeds the limit together with others', async () => {
    const quota = quotaOf(MIB);
    await errorOf(quota.reserve([...bytes(MIB), ...bytes(1)], signal));
    expect(await left(quota)).toBe(MIB);
    const tried = await Promise.allSettled(Array.from({ length: 20 }, () => quota.reserve(bytes(MIB / 4), signal)));
    expect(tried.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
  });

  it('for a file is replaced by the file itself once it has ended', async () => {
    const quota = quotaOf(4 * MIB);
    await createDisk(
      { filename: 'a.img', format: 'raw', size: BigInt(MIB) },
      { imageRoots: roots, disk: quota, signal },
    );
    expect(await left(quota)).toBe(3 * MIB);
    unlinkSync(inRoot('a.img'));
    expect(await left(quota)).toBe(4 * MIB);
  });

  it('grows as long as there is room', async () => {
    const quota = quotaOf(MIB);
    const [one] = await quota.reserve(bytes(0), signal);
    for (let grown = 0; grown < MIB; grown += 65536) await one?.grow(65536n);
    expect(await errorOf(one?.grow(1n) ?? Promise.resolve())).toMatchObject({ reason: 'LIMIT_EXCEEDED' });
    await one?.settle(async () => 4096n);
    expect(await left(quota)).toBe(MIB - 4096);
    expect(await errorOf(one?.settle(async () => BigInt(MIB + 1)) ?? Promise.resolve())).toMatchObject({
      reason: 'LIMIT_EXCEEDED',
    });
    one?.release();
  });
});

describe('disk_create', () => {
  const create = (quota: DiskQuota, disk: { format: string; size: number; overwrite?: boolean }): Promise<void> =>
    createDisk({ filename: 'a.img', ...disk, size: BigInt(disk.size) }, { imageRoots: roots, disk: quota, signal });

  it.each(['raw', 'qcow2'])('needs room for all of a disk in format %s', async (format) => {
    const quota = quotaOf(MIB);
    expect(await errorOf(create(quota, { format, size: MIB + 512 }))).toMatchObject({ reason: 'LIMIT_EXCEEDED' });
    expect(await left(quota)).toBe(MIB);
    await create(quota, { format, size: MIB });
  });

  it('needs only the difference to overwrite a disk', async () => {
    const quota = quotaOf(MIB);
    await create(quota, { format: 'raw', size: MIB });
    expect(await errorOf(create(quota, { format: 'raw', size: 2 * MIB, overwrite: true }))).toMatchObject({
      reason: 'LIMIT_EXCEEDED',
    });
    await create(quota, { format: 'raw', size: MIB, overwrite: true });
    expect(await left(quota)).toBe(0);
  });
});

describe('drives', () => {
  const attach = async (quota: DiskQuota, ...drives: Drive[]): Promise<ImageClaims> => {
    const claims = new ImageClaims(new ImageUses());
    const context = {
      runDirectory: scene.run,
      qemuBinary: '/nosuch',
      fdSets: new LateFdSets(),
      claims,
      disk: quota,
      signal,
    };
    const prepared = await prepareDrives(drives, context);
    await prepared.dispose();
    return claims;
  };

  it.each([
    ['a scratch drive', () => scratchDrive(BigInt(3 * MIB)), 3 * MIB],
    ['an overlay', () => fileDrive(rawImage(inRoot('a.img'), 3 * MIB), { format: 'raw' }), 6 * MIB],
    ['a raw image', () => fileDrive(rawImage(inRoot('a.img'), 3 * MIB), { readonly: false, format: 'raw' }), 3 * MIB],
    ['an image that grows', () => fileDrive(qcow2Image(inRoot('a.img'), '3M'), { readonly: false }), 3 * MIB],
  ])('with %s count with the maximum that can be written', async (_what, drive, expected) => {
    const quota = quotaOf(64 * MIB);
    const made = drive();
    const free = await left(quota);
    const claims = await attach(quota, made);
    expect(await left(quota)).toBe(64 * MIB - expected);
    await claims.releaseAll();
    const after = await left(quota);
    expect(after).toBe(free);
    // A raw image is counted as a file already, and does not grow.
    if (after === 64 * MIB - expected) return;
    const tight = quotaOf(expected - 1);
    expect(await errorOf(attach(tight, made))).toMatchObject({ reason: 'LIMIT_EXCEEDED' });
  });

  it('with snapshots count with their disk in addition to the file', async () => {
    const path = qcow2Image(inRoot('a.img'), '3M');
    qemuImg('snapshot', '-c', 'one', path);
    truncateSync(path, MIB);
    const quota = quotaOf(64 * MIB);
    const claims = await attach(quota, fileDrive(path, { readonly: false }));
    expect(await left(quota)).toBe(64 * MIB - 4 * MIB);
    await claims.releaseAll();
  });
});

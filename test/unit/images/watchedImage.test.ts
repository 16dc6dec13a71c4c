import { linkSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openImage } from '../../../src/security/pathPolicy.js';
import { WatchedImage } from '../../../src/images/watchedImage.js';
import { failureOf } from '../../fakes/connected.js';

const SIZE = 4096;

let directory: string;
let path: string;
let watched: WatchedImage;

async function watch(written: boolean): Promise<void> {
  const image = await openImage(path, { directories: [directory] }, 'read-only');
  watched = await WatchedImage.start(image, { subject: "image 'a.img'", written, growsBy: undefined });
  await image.handle.close();
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'watched-'));
  path = join(directory, 'a.img');
  writeFileSync(path, Buffer.alloc(SIZE));
});

afterEach(async () => {
  await watched.close();
  rmSync(directory, { recursive: true });
});

/** Every way in which a host can treat an image, and what a drive that writes, or only reads, is told about it. */
const TREATMENTS: readonly (readonly [string, () => void, string | undefined, string | undefined])[] = [
  ['left alone', () => undefined, undefined, undefined],
  ['made longer', () => truncateSync(path, 2 * SIZE), undefined, undefined],
  ['truncated', () => truncateSync(path, SIZE - 1), 'truncated', 'truncated'],
  ['deleted', () => rmSync(path), 'deleted', undefined],
  ['renamed', () => renameSync(path, join(directory, 'b.img')), undefined, undefined],
  [
    'given a second name, and its first removed',
    () => (linkSync(path, join(directory, 'b')), rmSync(path)),
    undefined,
    undefined,
  ],
  ['removed on NFS', () => renameSync(path, join(directory, '.nfs0000000000a8b1c200000004')), 'deleted', undefined],
  [
    'replaced by another file',
    () => {
      writeFileSync(join(directory, 'new'), Buffer.alloc(SIZE));
      renameSync(join(directory, 'new'), path);
    },
    'replaced',
    undefined,
  ],
  ['deleted, and created again', () => (rmSync(path), writeFileSync(path, Buffer.alloc(SIZE))), 'replaced', undefined],
];

describe('an image on the host that is', () => {
  it.each(TREATMENTS)('%s, while it is written', async (_what, treat, expected) => {
    await watch(true);
    expect(await watched.change(0n)).toBeUndefined();
    treat();
    expect(await watched.change(0n)).toBe(expected);
  });

  it.each(TREATMENTS)('%s, while it is only read', async (_what, treat, _written, expected) => {
    await watch(false);
    treat();
    expect(await watched.change(0n)).toBe(expected);
  });

  it('shorter than what qemu has written, which has made it longer', async () => {
    await watch(true);
    truncateSync(path, 3 * SIZE);
    expect(await watched.change(BigInt(3 * SIZE))).toBeUndefined();
    truncateSync(path, 2 * SIZE);
    expect(await watched.change(BigInt(3 * SIZE))).toBe('truncated');
  });

  it('as long as before, after it was noticed that it was truncated', async () => {
    await watch(true);
    truncateSync(path, 0);
    expect(await watched.change(0n)).toBe('truncated');
    truncateSync(path, SIZE);
    expect(await watched.change(0n)).toBe('truncated');
  });
});

it('an image that can no longer be examined is an error, which names it', async () => {
  await watch(true);
  await watched.close();
  expect(await failureOf(watched.change(0n))).toMatchObject({
    reason: 'EBADF',
    message: "image 'a.img' cannot be examined on the server's host any more: EBADF",
  });
});

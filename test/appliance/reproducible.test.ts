/** The result of a build depends only on its packages: not on the time, the order of steps, or where it runs. */
import { execFileSync } from 'node:child_process';
import { link, lutimes, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { differencesBetween } from '../../appliance-builder/compare.js';
import { makeImage, uuidFrom } from '../../appliance-builder/image.js';
import { makeInitrd } from '../../appliance-builder/initrd.js';
import type { Kernel } from '../../appliance-builder/kernel.js';
import { describeFile, MANIFEST_FORMAT } from '../../appliance-builder/manifest.js';
import { Fakeroot } from '../../appliance-builder/rootfs.js';
import { sourceDateEnv } from '../../appliance-builder/sourceDate.js';
import { quiet } from './context.js';

const SOURCE_DATE = new Date('2024-05-06T07:08:09Z');
const OLDER = new Date('2020-01-02T03:04:05Z');
/** Several block groups; that of an appliance takes longer to read. */
const IMAGE_SIZE = 512 << 20;
/** A busy machine takes a while to make an image. */
const LIMIT_MS = 60_000;
/** Small files, and some that need a block, or several levels of a directory. */
const NAMES = ['a', 'b.conf', 'Z', 'ä', ...Array.from({ length: 300 }, (_, index) => `module-${index}.ko`)];

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'reproducible-'));
});
afterAll(() => rm(directory, { recursive: true }));

/** Creates a root tree with files of all kinds, in the order of `names`, some of them dated `now`. */
async function makeTree(tree: string, names: readonly string[], now: Date): Promise<void> {
  await mkdir(join(tree, 'usr', 'bin'), { recursive: true });
  for (const name of names) {
    await writeFile(join(tree, 'usr', name), name.repeat(name.length * 50));
    const time = name.length % 2 === 0 ? OLDER : now;
    await utimes(join(tree, 'usr', name), now, time);
  }
  await link(join(tree, 'usr', 'a'), join(tree, 'usr', 'bin', 'hard-link'));
  await symlink('usr/bin', join(tree, 'bin'));
  await lutimes(join(tree, 'bin'), now, now);
  execFileSync('mkfifo', [join(tree, 'never')]);
  for (const path of [join(tree, 'usr', 'bin'), join(tree, 'usr'), join(tree, 'never'), tree])
    await utimes(path, now, now);
}

async function imageOf(name: string, names: readonly string[], now: Date): Promise<string> {
  const tree = join(directory, name, 'tree');
  await makeTree(tree, names, now);
  const image = join(directory, name, 'root');
  const fakeroot = new Fakeroot(join(directory, name, 'fakeroot.state'));
  await makeImage(quiet(), tree, image, uuidFrom('test'), SOURCE_DATE, fakeroot, IMAGE_SIZE);
  return image;
}

describe('the disk image', () => {
  let image: string;
  beforeAll(async () => {
    image = await imageOf('one', NAMES, new Date('2025-01-01T00:00:00Z'));
  }, LIMIT_MS);

  it(
    'is the same for equal trees that were made at other times and in another order',
    async () => {
      // Change times (ctime) cannot be set, and have a resolution of one second.
      await sleep(1100);
      const other = await imageOf('other', [...NAMES].reverse(), new Date('2026-02-02T00:00:00Z'));
      expect(await describeFile(other)).toEqual(await describeFile(image));
    },
    LIMIT_MS,
  );

  it('keeps the times of older files, and has none newer than its packages', () => {
    const stat = (path: string): string => execFileSync('debugfs', ['-R', `stat ${path}`, image], { encoding: 'utf8' });
    const seconds = (text: string): number[] =>
      [...text.matchAll(/^ *([acm]|cr)time: 0x([0-9a-f]+)/gm)].map(([, , hex]) => parseInt(hex ?? '', 16));
    const [older, latest] = [OLDER.getTime() / 1000, SOURCE_DATE.getTime() / 1000];
    expect(seconds(stat('/usr/b.conf'))).toEqual([older, older, older, older]);
    for (const path of ['/', '/usr/a', '/bin', '/never', '/lost+found'])
      expect(seconds(stat(path))).toEqual([latest, latest, latest, latest]);
  });

  it('is a sound file system', () => {
    expect(() => execFileSync('e2fsck', ['-f', '-n', image], { stdio: 'pipe' })).not.toThrow();
  });
});

it('the initrd is the same whatever the order of directories and the times of files', async () => {
  const files = ['kernel/virtio_blk.ko', 'kernel/ext4.ko', 'kernel/mbcache.ko'];
  const make = async (name: string, order: readonly string[]): Promise<Buffer> => {
    const modulesDirectory = join(directory, name);
    await mkdir(join(modulesDirectory, 'kernel'), { recursive: true });
    for (const file of order) await writeFile(join(modulesDirectory, file), file);
    await writeFile(join(modulesDirectory, 'busybox'), 'a shell', { mode: 0o700 });
    const modules = new Map(files.map((file) => [file, file.includes('ext4') ? ['kernel/mbcache.ko'] : []]));
    return makeInitrd({ modulesDirectory, modules } as unknown as Kernel, join(modulesDirectory, 'busybox'));
  };
  expect(await make('first', files)).toEqual(await make('second', [...files].reverse()));
});

it('programs use the date of the packages instead of the current one', () => {
  expect(sourceDateEnv(SOURCE_DATE)).toMatchObject({ SOURCE_DATE_EPOCH: '1714979289', TZ: 'UTC' });
});

describe('the comparison of two appliances', () => {
  async function place(name: string, root: string, packages: Record<string, string>): Promise<string> {
    const path = join(directory, name);
    await mkdir(path);
    await writeFile(join(path, 'root'), root);
    await writeFile(join(path, 'manifest.json'), JSON.stringify({ formatVersion: MANIFEST_FORMAT, packages }));
    return path;
  }

  it('finds identical ones, and names files that differ or are missing', async () => {
    const one = await place('compared', 'the root', { bash: '5' });
    expect(await differencesBetween(one, await place('equal', 'the root', { bash: '5' }))).toEqual([]);
    const other = await place('different', 'the rooT', { bash: '5' });
    await writeFile(join(other, 'more'), '');
    const differences = await differencesBetween(one, other);
    expect(differences).toHaveLength(2);
    expect(differences[0]).toMatch(/^more: cmp: .*No such file/);
    expect(differences[1]).toMatch(/^root: .* differ: (byte|char) 8/);
  });

  it('reports differences between their packages', async () => {
    const one = await place('before', 'x', { bash: '5', dash: '1' });
    const other = await place('after', 'y', { bash: '6', zsh: '2' });
    expect(await differencesBetween(one, other)).toEqual([
      'package bash: 5, then 6',
      'package dash: 1, then none',
      'package zsh: none, then 2',
    ]);
    await rm(join(other, 'manifest.json'));
    expect(await differencesBetween(one, other)).toEqual([`${other} has no manifest that can be read`]);
  });
});

import { chmod, mkdir, readFile, realpath, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSuperminBuilder, type ApplianceCache } from '../../../src/appliance/superminBuilder.js';
import { silentLogger } from '../../../src/common/logger.js';
import { lateSignal } from '../../support/lateSignal.js';
import { createScene, type Scene } from './scene.js';

let scene: Scene;
let cache: string;
/** Where the server's own appliance is kept. */
let shared: ApplianceCache;
const never = new AbortController().signal;
const own = `.guestfs-${process.geteuid?.() ?? 0}`;

beforeEach(async () => {
  scene = await createScene();
  cache = join(scene.path, 'cache');
  shared = { directory: cache, place: 'shared with libguestfs' };
});
afterEach(() => scene.remove());

/** A builder whose supermin is a script; it finds its output directory in `$out`. */
async function builderOf(script: string) {
  await scene.write('supermin', `#!/bin/sh\nfor out; do :; done\necho "$@" >> ${scene.path}/calls\n${script}\n`);
  await chmod(join(scene.path, 'supermin'), 0o755);
  return createSuperminBuilder(silentLogger, join(scene.path, 'supermin'));
}

const MAKE =
  'sleep 0.1; mkdir -p "$out"; for f in kernel initrd root; do echo > "$out/$f"; touch -d 2001-01-01 "$out/$f"; done';
const calls = async () => (await readFile(join(scene.path, 'calls'), 'utf8')).trim().split('\n');

describe('building a supermin appliance', () => {
  it('runs supermin as libguestfs does, in the cache that they share', async () => {
    const supermin = await builderOf(MAKE);
    await expect(supermin.build('/skeleton/supermin.d', shared, never)).resolves.toBe(join(cache, own, 'appliance.d'));
    expect(await calls()).toEqual([
      expect.stringMatching(
        new RegExp(
          `^--build --if-newer --lock ${cache}/${own}/lock --copy-kernel -f ext2 --host-cpu \\S+ /skeleton/supermin.d -o ${cache}/${own}/appliance.d$`,
        ),
      ),
    ]);
  });

  it('updates the times of the files, without which the next build would not be skipped', async () => {
    const supermin = await builderOf(MAKE);
    const directory = await supermin.build('/s', shared, never);
    for (const name of ['kernel', 'initrd', 'root'])
      expect((await stat(join(directory, name))).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
  });

  it('builds once for concurrent requests', async () => {
    const supermin = await builderOf(MAKE);
    await Promise.all([supermin.build('/s', shared, never), supermin.build('/s', shared, never)]);
    expect(await calls()).toHaveLength(1);
    await supermin.build('/s', shared, never);
    expect(await calls()).toHaveLength(2);
  });

  it('continues for the others when one request is cancelled', async () => {
    const supermin = await builderOf(MAKE);
    const aborted = supermin.build('/s', shared, lateSignal(10));
    const other = supermin.build('/s', shared, never);
    await expect(aborted).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(other).resolves.toContain('appliance.d');
  });

  it("fails with supermin's message", async () => {
    const supermin = await builderOf('echo "no kernel found" >&2; exit 1');
    await expect(supermin.build('/s', shared, never)).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringContaining('no kernel found'),
    });
  });

  it('reports that supermin is not installed', async () => {
    const supermin = createSuperminBuilder(silentLogger, join(scene.path, 'none'));
    await expect(supermin.build('/s', shared, never)).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringContaining('ENOENT'),
    });
  });
});

describe('the cache', () => {
  it("has a directory for each skeleton that is not the server's own, whatever link leads to it", async () => {
    for (const name of ['a', 'b']) await scene.write(`${name}/supermin.d/packages`, '');
    await symlink(join(scene.path, 'a'), join(scene.path, 'link'));
    const supermin = await builderOf(MAKE);
    const build = (name: string): Promise<string> =>
      supermin.build(join(scene.path, name, 'supermin.d'), { directory: cache, place: 'of the skeleton' }, never);
    const [a, b, link] = [await build('a'), await build('b'), await build('link')] as const;
    const place = new RegExp(`^${cache}/${own}/[0-9a-f]{64}$`);
    expect([dirname(a), dirname(b), basename(a)]).toEqual([
      expect.stringMatching(place),
      expect.stringMatching(place),
      'appliance.d',
    ]);
    expect(b).not.toBe(a);
    expect(link).toBe(a);
    expect(await supermin.build('/skeleton/supermin.d', shared, never)).toBe(join(cache, own, 'appliance.d'));
    const real = await realpath(join(scene.path, 'a/supermin.d'));
    expect((await calls())[2]).toMatch(new RegExp(`--lock ${dirname(a)}/lock .* ${real} -o ${a}$`));
  });

  it('has no directory for a missing skeleton', async () => {
    const supermin = await builderOf(MAKE);
    await expect(
      supermin.build('/nosuch/supermin.d', { directory: cache, place: 'of the skeleton' }, never),
    ).rejects.toMatchObject({ reason: 'APPLIANCE_UNUSABLE' });
  });

  it('is created for this user and world-readable, whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      await (await builderOf(MAKE)).build('/s', shared, never);
    } finally {
      process.umask(before);
    }
    expect((await stat(join(cache, own))).mode & 0o777).toBe(0o755);
  });

  it('is refused if others can write to it', async () => {
    await mkdir(join(cache, own), { recursive: true });
    await chmod(join(cache, own), 0o777);
    await expect((await builderOf(MAKE)).build('/s', shared, never)).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringContaining('is writable by other users'),
    });
  });

  it('is refused when it is a link', async () => {
    await mkdir(cache);
    await symlink(scene.path, join(cache, own));
    await expect((await builderOf(MAKE)).build('/s', shared, never)).rejects.toThrow(/is not a directory/);
  });
});

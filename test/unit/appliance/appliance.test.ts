import { readFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openAppliance } from '../../../src/appliance/appliance.js';
import { parseManifest } from '../../../src/appliance/manifest.js';
import { createScene, extImage, ROOT_UUID, type Scene } from './scene.js';

let scene: Scene;
beforeEach(async () => {
  scene = await createScene();
});
afterEach(() => scene.remove());

const open = (directory: string) => openAppliance({ kind: 'fixed', directory });

describe('opening an appliance', () => {
  it('tells what a launch has to know', async () => {
    const appliance = await open(await scene.fixed('a'));
    expect(appliance.rootUuid).toBe(ROOT_UUID);
    expect(appliance.rootImage).toEqual({ format: 'raw', virtualSize: 4096n, uuid: ROOT_UUID });
    expect(appliance.manifest).toBeUndefined();
    await appliance.close();
  });

  it('reads the manifest and compares the sizes in it', async () => {
    const directory = await scene.fixed('a');
    const files = { kernel: { size: 6 }, initrd: { size: 6 }, root: { size: 4096 } };
    await scene.write('a/manifest.json', JSON.stringify({ formatVersion: 1, daemonVersion: '1.54.1', files }));
    const appliance = await open(directory);
    expect(appliance.manifest?.daemonVersion).toBe('1.54.1');
    await appliance.close();
    await truncate(join(directory, 'root'), 2048);
    await expect(open(directory)).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringMatching(/root has 2048 bytes instead of the 4096 in its manifest; rebuild/),
    });
  });

  it('takes all files from one generation of a directory that is replaced', async () => {
    const directory = await scene.fixed('a');
    const appliance = await open(directory);
    await rename(directory, join(scene.path, 'b'));
    await scene.fixed('a');
    expect((await readFile(`/proc/self/fd/${appliance.kernel.fd}`)).toString()).toBe('kernel');
    await appliance.close();
  });

  it('takes a qcow2 root when the manifest states the UUID', async () => {
    const qcow2 = Buffer.alloc(512);
    qcow2.write('QFI\xfb', 'latin1');
    qcow2.writeBigUInt64BE(1n << 32n, 24);
    const directory = await scene.fixed('a');
    await scene.write('a/root', qcow2);
    await expect(open(directory)).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringContaining('convert it to raw'),
    });
    await scene.write('a/manifest.json', JSON.stringify({ formatVersion: 1, rootUuid: ROOT_UUID }));
    const appliance = await open(directory);
    expect([appliance.rootUuid, appliance.rootImage.format, appliance.rootImage.virtualSize]).toEqual([
      ROOT_UUID,
      'qcow2',
      1n << 32n,
    ]);
    await appliance.close();
  });

  it.each<[string, string, string | Buffer, RegExp]>([
    ['a root that is no file system', 'root', Buffer.alloc(4096), /no ext2, ext3 or ext4 file system/],
    ['a root that is cut short', 'root', extImage().subarray(0, 1500), /no ext2/],
    ['an empty kernel', 'kernel', '', /kernel has 0 bytes/],
    ['a manifest of the future', 'manifest.json', '{"formatVersion": 2}', /format 2/],
    ['a manifest that is no JSON', 'manifest.json', '{', /not JSON/],
  ])('refuses %s', async (_what, name, content, message) => {
    const directory = await scene.fixed('a');
    await scene.write(`a/${name}`, content);
    await expect(open(directory)).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringMatching(message),
    });
  });

  it('names a file that is gone', async () => {
    await expect(open(await scene.fixed('a', ['initrd']))).rejects.toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringMatching(/'initrd'/),
    });
  });
});

describe('a manifest', () => {
  it('may have less, and other things, than is looked for', () => {
    const manifest = parseManifest(
      '{"formatVersion": 1, "suite": 5, "packages": ["a=1"], "files": {"kernel": null, "root": {"size": "x"}}}',
      'm',
    );
    expect(manifest).toMatchObject({ suite: undefined, daemonVersion: undefined });
    expect(manifest.sizes.size).toBe(0);
  });

  it.each(['[]', 'null', '5', '{}', '{"formatVersion": "1"}'])('is refused when it is %s', (text) => {
    expect(() => parseManifest(text, 'm')).toThrow(/has format/);
  });
});

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { locateAppliance, type SearchContext } from '../../../src/appliance/locateAppliance.js';
import { createScene, type Scene } from './scene.js';

let scene: Scene;
let context: SearchContext;
let built: string[];

beforeEach(async () => {
  scene = await createScene();
  built = [];
  context = {
    cache: { directory: '/cache', place: 'of the skeleton' },
    signal: new AbortController().signal,
    supermin: {
      build: async (skeleton, cache) => {
        built.push(skeleton);
        return `${cache.directory}/built`;
      },
    },
  };
});
afterEach(() => scene.remove());

describe('the search for an appliance', () => {
  it('takes the first element that has one', async () => {
    await scene.write('empty/x', '');
    const first = await scene.fixed('first');
    const second = await scene.fixed('second');
    await expect(locateAppliance(`${scene.path}/empty:${first}:${second}`, context)).resolves.toEqual({
      kind: 'fixed',
      directory: first,
    });
  });

  it('builds a supermin appliance, which comes before a fixed one in the same place', async () => {
    const directory = await scene.fixed('both');
    await scene.write('both/supermin.d/base.tar.gz', '');
    await scene.write('both/supermin.d/packages', '');
    await expect(locateAppliance(directory, context)).resolves.toEqual({ kind: 'supermin', directory: '/cache/built' });
    expect(built).toEqual([join(directory, 'supermin.d')]);
  });

  it('takes a skeleton that lacks a part for none', async () => {
    await scene.write('a/supermin.d/base.tar.gz', '');
    await expect(locateAppliance(join(scene.path, 'a'), context)).rejects.toMatchObject({
      reason: 'APPLIANCE_MISSING',
    });
  });

  it('names each element that it tried and what it lacks', async () => {
    const partial = await scene.fixed('partial', ['README.fixed', 'root']);
    await scene.write('old/vmlinuz.x86_64', '');
    await scene.write('old/initramfs.x86_64.img', '');
    await scene.write('empty/x', '');
    const error = await locateAppliance(
      `${scene.path}/gone:${partial}:${scene.path}/old:${scene.path}/empty`,
      context,
    ).catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({ reason: 'APPLIANCE_MISSING' });
    expect((error as Error).message).toBe(
      `no appliance found: ${scene.path}/gone (does not exist); ${partial} (lacks README.fixed, root); ` +
        `${scene.path}/old (has an appliance without a root image, made by an old libguestfs, which is not supported); ` +
        `${scene.path}/empty (contains neither a fixed appliance nor a supermin one)`,
    );
  });

  it('takes an empty element for the current directory', async () => {
    await expect(locateAppliance('', context)).rejects.toThrow(process.cwd());
  });
});

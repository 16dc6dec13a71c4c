/** Which files of the host an identity reaches: with a policy file, and without one. */
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { rulesOf, serviceRules } from '../../../src/actions/callRules.js';
import { actionsByName } from '../../../src/actions/byName.js';
import type { ActionDef } from '../../../src/actions/types.js';
import { silentLogger } from '../../../src/common/logger.js';
import { openTarget } from '../../../src/library/hostCopy/hostPath.js';
import { ownDirectories } from '../../../src/security/ownDirectories.js';
import { createImageFile, openImage, openSocket, type ImageRoots } from '../../../src/security/pathPolicy.js';
import type { Allowable } from '../../../src/security/policy.js';
import { RolePolicy } from '../../../src/security/rolePolicy.js';
import { errorOf, makeScene, openFiles, type Scene } from '../images/scene.js';

let scene: Scene;
let file: string;
let before: number;
beforeEach(() => {
  scene = makeScene();
  file = join(scene.base, 'policy.yaml');
  for (const name of ['a', 'a/inner', 'b', 'base']) mkdirSync(join(scene.root, name));
  for (const name of ['a/own.img', 'a/inner/golden.img', 'b/other.img', 'base/os.img', 'top.img'])
    writeFileSync(join(scene.root, name), name);
  before = openFiles();
});
afterEach(() => {
  expect(openFiles()).toBe(before);
  scene.remove();
});

const serverPolicy = (allowed: readonly Allowable[] = []) => ({
  imageRoots: { directories: [scene.root], blockDevices: allowed.includes('block-devices') },
  allowed: new Set(allowed),
});
const policyOf = (text: string, allowed: readonly Allowable[] = []): Promise<RolePolicy> => {
  writeFileSync(file, text);
  return RolePolicy.read(file, serverPolicy(allowed));
};
const ROLES = `
roles:
  tenant:
    images:
      - { path: a, access: write }
      - { path: a/inner, access: read }
      - { path: base, access: read }
      - { path: "homes/{identity}", access: write }
identities:
  - { match: ["cn:tenant"], role: tenant }
`;

const read = async (path: string, roots: ImageRoots): Promise<string> => {
  const { handle, path: real } = await openImage(path, roots, 'read-only');
  await handle.close();
  return real;
};
const reasonOf = async (work: Promise<unknown>): Promise<unknown> =>
  ((await errorOf(work)) as { reason?: string }).reason;

describe('a role', () => {
  it('gives image roots, to write or to read', async () => {
    const { imageRoots } = await (await policyOf(ROLES)).of('cn:tenant');
    expect(await read('own.img', imageRoots)).toBe(join(scene.root, 'a/own.img'));
    expect(await read('os.img', imageRoots)).toBe(join(scene.root, 'base/os.img'));
    expect(await read(join(scene.root, 'a/inner/golden.img'), imageRoots)).toMatch(/golden/);
    for (const path of ['b/other.img', '../b/other.img', 'other.img', '../top.img', join(scene.root, 'top.img')])
      expect(await reasonOf(openImage(path, imageRoots, 'read-only'))).toMatch(/OUTSIDE_IMAGE_ROOTS|IMAGE_MISSING/);
    const writable = await openImage('own.img', imageRoots, 'read-write');
    await writable.handle.close();
  });

  it('lets nothing be written where it says read', async () => {
    const { imageRoots } = await (await policyOf(ROLES)).of('cn:tenant');
    for (const path of [
      'os.img',
      join(scene.root, 'base/os.img'),
      'inner/golden.img',
      join(scene.root, 'a/inner/golden.img'),
    ]) {
      expect(await reasonOf(openImage(path, imageRoots, 'read-write'))).toBe('NOT_ALLOWED');
      expect(await reasonOf(createImageFile(path, imageRoots, true))).toBe('NOT_ALLOWED');
    }
    for (const path of [join(scene.root, 'base/new.img'), 'inner/new.img'])
      expect(await reasonOf(createImageFile(path, imageRoots, false))).toBe('NOT_ALLOWED');
    expect(await reasonOf(openTarget(join(scene.root, 'base'), imageRoots))).toBe('NOT_ALLOWED');
    // It would reach what may only be read in it.
    expect(await reasonOf(openTarget(join(scene.root, 'a'), imageRoots))).toBe('NOT_ALLOWED');
    expect(await reasonOf(openSocket(join(scene.root, 'base/os.img'), imageRoots))).toBe('NOT_ALLOWED');
    expect(readFileSync(join(scene.root, 'base/os.img'), 'utf8')).toBe('base/os.img');
  });

  it('has a place for the name of the identity', async () => {
    mkdirSync(join(scene.root, 'homes'));
    mkdirSync(join(scene.root, 'homes/cn%3Atenant'));
    const { imageRoots } = await (await policyOf(ROLES)).of('cn:tenant');
    expect(imageRoots.directories).toContain(join(scene.root, 'homes/cn%3Atenant'));
    const made = await createImageFile(join(scene.root, 'homes/cn%3Atenant/x.img'), imageRoots, false);
    await made.handle.close();
  });

  it('is not led elsewhere by a link in the place of its directory', async () => {
    const { imageRoots } = await (await policyOf(ROLES)).of('cn:tenant');
    renameSync(join(scene.root, 'a/inner'), join(scene.root, 'a/moved'));
    for (const target of [scene.outside, join(scene.root, 'b')]) {
      symlinkSync(target, join(scene.root, 'a/inner'));
      expect(await reasonOf(openImage('inner/other.img', imageRoots, 'read-only'))).toBe('OUTSIDE_IMAGE_ROOTS');
      renameSync(join(scene.root, 'a/inner'), join(scene.root, 'a/gone'));
    }
  });

  it('is refused with a path outside the image roots, or permissions that the server lacks', async () => {
    for (const path of ['/etc', '../x', 'a/../../x', 'a/x{identity}']) {
      const text = `roles: { t: { images: [{ path: "${path}", access: read }] } }\nidentities: []`;
      await expect(policyOf(text)).rejects.toThrow(/roles\.t\.images: .*(--image-root|complete name)/);
    }
    const text = 'roles: { t: { permissions: [network] } }\nidentities: []';
    await expect(policyOf(text)).rejects.toThrow('--allow network');
    await policyOf(text, ['network']);
  });

  it('is the first that matches, and nobody else has one', async () => {
    const policy = await policyOf(
      `
roles: { first: { permissions: [network] }, second: {} }
identities:
  - { match: ["cn:build", "uri:spiffe://mesh/*"], role: first }
  - { match: ["cn:*"], role: second }
`,
      ['network'],
    );
    expect([...(await policy.of('cn:build')).allowed]).toEqual(['network']);
    expect([...(await policy.of('cn:other')).allowed]).toEqual([]);
    await expect(policy.of('dns:build')).rejects.toMatchObject({ reason: 'NOT_ALLOWED' });
  });

  it('says which calls it may make', async () => {
    const text = (calls: string): string => `roles: { t: { ${calls} } }\nidentities: [{ match: ["cn:*"], role: t }]`;
    const rules = (name: string) => rulesOf(actionsByName.get(name) as ActionDef);
    const may = async (calls: string): Promise<string[]> => {
      const access = await (await policyOf(text(calls))).of('cn:x');
      const tried = [rules('ls'), rules('mkdir'), rules('lvcreate'), serviceRules.CreateSession, serviceRules.Inspect];
      return tried
        .filter((one) => {
          try {
            access.requireCall(one);
            return true;
          } catch (error) {
            expect(error).toMatchObject({ reason: 'NOT_ALLOWED', message: expect.stringContaining(one.name) });
            return false;
          }
        })
        .map(({ name }) => name);
    };
    expect(await may('')).toEqual(['ls', 'mkdir', 'lvcreate', 'CreateSession', 'Inspect']);
    expect(await may('calls: [read, CreateSession]')).toEqual(['ls', 'CreateSession', 'Inspect']);
    expect(await may('calls: [FileService]')).toEqual(['ls', 'mkdir']);
    expect(await may('except: [LvmService, SessionService]')).toEqual(['ls', 'mkdir', 'Inspect']);
    expect(await may('calls: []')).toEqual([]);
  });
});

describe('a policy that is read again', () => {
  it('counts for what was there before, and stays as it is when the new one is broken', async () => {
    const policy = await policyOf(ROLES);
    const { imageRoots } = await policy.of('cn:tenant');
    writeFileSync(file, 'roles: { tenant: { imagess: [] } }\nidentities: []');
    await expect(policy.reload()).rejects.toThrow(/imagess/);
    expect(await read('own.img', imageRoots)).toMatch(/own/);

    writeFileSync(file, 'roles: {}\nidentities: []');
    await policy.reload();
    expect(await reasonOf(openImage('own.img', imageRoots, 'read-only'))).toBe('OUTSIDE_IMAGE_ROOTS');
    await expect(policy.of('cn:tenant')).rejects.toMatchObject({ reason: 'NOT_ALLOWED' });
  });
});

describe('without a policy', () => {
  it('each identity has a directory of its own, and no other', async () => {
    const access = ownDirectories(serverPolicy(), silentLogger);
    const [alice, bob] = [await access.of('cn:alice'), await access.of('uri:spiffe://mesh/../bob')];
    expect(bob.imageRoots.directories).toEqual([join(scene.root, 'uri%3Aspiffe%3A%2F%2Fmesh%2F..%2Fbob')]);
    const made = await createImageFile('disk.img', alice.imageRoots, false);
    await made.handle.close();
    expect(made.path).toBe(join(scene.root, 'cn%3Aalice/disk.img'));
    expect(await read('disk.img', alice.imageRoots)).toBe(made.path);
    symlinkSync('../cn%3Aalice/disk.img', join(bob.imageRoots.directories[0] as string, 'link.img'));
    for (const path of [made.path, '../cn%3Aalice/disk.img', 'link.img', '../top.img', join(scene.root, 'top.img')]) {
      expect(await reasonOf(openImage(path, bob.imageRoots, 'read-only'))).toBe('OUTSIDE_IMAGE_ROOTS');
      expect(await reasonOf(createImageFile(path, bob.imageRoots, true))).toBe('OUTSIDE_IMAGE_ROOTS');
    }
    expect(await reasonOf(openImage('disk.img', bob.imageRoots, 'read-only'))).toBe('IMAGE_MISSING');
  });

  it('operators have the image roots themselves', async () => {
    const access = ownDirectories(serverPolicy(), silentLogger, new Set(['uid:0']));
    const [root, user] = [await access.of('uid:0'), await access.of('uid:1000')];
    expect(root.imageRoots.directories).toEqual([scene.root]);
    expect(user.imageRoots.directories).toEqual([join(scene.root, 'uid%3A1000')]);
  });
});

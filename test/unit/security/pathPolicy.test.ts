import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createImageFile, openImage, resolveImagePath, type ImageRoots } from '../../../src/security/pathPolicy.js';
import { errorOf, makeScene, openFiles, type Scene } from '../images/scene.js';

let scene: Scene;
let second: string;
let roots: ImageRoots;

beforeEach(() => {
  scene = makeScene();
  second = join(scene.base, 'second');
  mkdirSync(second);
  mkdirSync(join(scene.root, 'sub'));
  roots = { directories: [scene.root, second] };
  writeFileSync(join(scene.root, 'a.img'), 'first a');
  writeFileSync(join(second, 'a.img'), 'second a');
  writeFileSync(join(second, 'b.img'), 'second b');
  writeFileSync(join(scene.root, 'sub', 'c.img'), 'sub c');
  writeFileSync(join(scene.outside, 'secret'), 'secret');
});
afterEach(() => scene.remove());

const inRoot = (name: string): string => join(scene.root, name);

describe('paths that lead to an image', () => {
  it.each([
    ['a name in the first root', () => 'a.img', 'first a'],
    ['a name in a later root', () => 'b.img', 'second b'],
    ['a name below a root', () => 'sub/c.img', 'sub c'],
    ['needless dots and slashes', () => './/sub/./c.img', 'sub c'],
    ['a way back that stays inside', () => 'sub/../a.img', 'first a'],
    ['an absolute path', () => inRoot('a.img'), 'first a'],
    ['an absolute path in a later root', () => join(second, 'a.img'), 'second a'],
    ['an absolute path from one root to the other', () => `${scene.root}/../second/b.img`, 'second b'],
  ])('%s', async (_what, path, contents) => {
    const image = await openImage(path(), roots, 'read-only');
    expect(await image.handle.readFile('utf8')).toBe(contents);
    expect(image).toMatchObject({ kind: 'file', size: BigInt(contents.length) });
    expect(readFileSync(image.path, 'utf8')).toBe(contents);
    await image.handle.close();
  });

  it.each([
    ['to a file beside it', 'a.img', 'first a'],
    ['up and down again', 'sub/../sub/c.img', 'sub c'],
    ['into another root, relative', '../second/b.img', 'second b'],
    ['into another root, absolute', '<second>/b.img', 'second b'],
  ])('a link %s', async (_what, target, contents) => {
    symlinkSync(target.replace('<second>', second), inRoot('link'));
    const image = await openImage('link', roots, 'read-only');
    expect(await image.handle.readFile('utf8')).toBe(contents);
    await image.handle.close();
  });

  it('a root that is itself a link, by both its names', async () => {
    const alias = join(scene.base, 'alias');
    symlinkSync(scene.root, alias);
    for (const path of ['a.img', join(alias, 'a.img'), inRoot('a.img')]) {
      expect(await resolveImagePath(path, { directories: [alias] })).toBe(inRoot('a.img'));
    }
  });

  it('opens for writing only if requested', async () => {
    const reader = await openImage('a.img', roots, 'read-only');
    await expect(reader.handle.write('x')).rejects.toThrow('EBADF');
    await reader.handle.close();
    const writer = await openImage('a.img', roots, 'read-write');
    await writer.handle.write('x');
    await writer.handle.close();
    expect(readFileSync(inRoot('a.img'), 'utf8')).toBe('xirst a');
  });
});

describe('paths that lead out of the roots', () => {
  it.each([
    ['absolute', () => join(scene.outside, 'secret')],
    ['absolute, not there', () => join(scene.outside, 'nothing')],
    ['a directory outside', () => '/'],
    ['relative dots', () => '../out/secret'],
    ['relative dots, not there', () => '../out/nothing'],
    ['dots after a directory', () => 'sub/../../out/secret'],
    ['absolute dots', () => `${scene.root}/../out/secret`],
    ['a name that starts like a root', () => `${scene.root}-other/secret`],
    ['a process directory', () => '/proc/self/exe'],
  ])('%s', async (_what, path) => {
    const error = await errorOf(openImage(path(), roots, 'read-only'));
    expect(error.reason).toBe('OUTSIDE_IMAGE_ROOTS');
    expect(error.message).toContain(`image '${path()}'`);
    expect(error.message).toContain('--image-root');
  });

  it.each([
    ['a file', '<out>/secret'],
    ['nothing', '<out>/nothing'],
    ['a directory', '<out>'],
    ['a file, by dots', '../out/secret'],
    ['nothing, by dots', '../out/nothing'],
  ])('a link to %s outside: always the same answer', async (_what, target) => {
    symlinkSync(target.replace('<out>', scene.outside), inRoot('link'));
    for (const path of ['link', 'link/x']) {
      const error = await errorOf(openImage(path, roots, 'read-only'));
      expect(error.reason).toBe('OUTSIDE_IMAGE_ROOTS');
      expect(error.message.replace(path, 'X')).toBe(
        (await errorOf(openImage('/etc/passwd', roots, 'read-only'))).message.replace('/etc/passwd', 'X'),
      );
    }
  });

  it('a directory link that is swapped in between', async () => {
    // 'sub' is now a directory of the root, now a link to one outside, with the same names in it
    // and a path that starts like the root's.
    mkdirSync(`${scene.root}-other`);
    writeFileSync(`${scene.root}-other/c.img`, 'secret');
    symlinkSync(`${scene.root}-other`, inRoot('trap'));
    const before = openFiles();
    let swapping = true;
    const swap = (async () => {
      while (swapping) {
        renameSync(inRoot('sub'), inRoot('hidden'));
        renameSync(inRoot('trap'), inRoot('sub'));
        await new Promise((resolve) => setImmediate(resolve));
        renameSync(inRoot('sub'), inRoot('trap'));
        renameSync(inRoot('hidden'), inRoot('sub'));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const seen = new Set<string>();
    // Until both sides of the swap were seen, and then for a while.
    for (let turn = 0; turn < 400 || (turn < 10_000 && seen.size < 2); turn++) {
      try {
        const image = await openImage('sub/c.img', roots, 'read-only');
        seen.add(await image.handle.readFile('utf8'));
        await image.handle.close();
      } catch (error) {
        seen.add((error as { reason: string }).reason);
      }
    }
    swapping = false;
    await swap;
    expect(seen).not.toContain('secret');
    expect(seen).toContain('OUTSIDE_IMAGE_ROOTS');
    expect(openFiles()).toBe(before);
  });
});

describe('something that is not an image', () => {
  it.each([
    ['an empty path', '', 'IMAGE_UNUSABLE', 'empty'],
    ['a NUL', 'a.img\0.txt', 'IMAGE_UNUSABLE', 'NUL'],
    ['an endless path', 'x/'.repeat(3000), 'IMAGE_UNUSABLE', 'longer than'],
    ['an endless name', 'x'.repeat(300), 'IMAGE_UNUSABLE', 'too long'],
    ['a missing file', 'nothing.img', 'IMAGE_MISSING', "image 'nothing.img' does not exist"],
    ['a missing directory', 'nowhere/a.img', 'IMAGE_MISSING', 'does not exist'],
    ['a file as directory', 'a.img/b', 'IMAGE_MISSING', 'does not exist'],
    ['a directory', 'sub', 'IMAGE_UNUSABLE', 'is a directory'],
    ['a root', '.', 'IMAGE_UNUSABLE', 'is a directory'],
    ['a pipe', 'pipe', 'IMAGE_UNUSABLE', 'named pipe'],
    ['links in a circle', 'circle', 'IMAGE_UNUSABLE', 'too many symbolic links'],
  ])('%s', async (_what, path, reason, words) => {
    execFileSync('mkfifo', [inRoot('pipe')]);
    symlinkSync('circle', inRoot('circle'));
    const before = openFiles();
    const error = await errorOf(openImage(path, roots, 'read-only'));
    expect(error).toMatchObject({ reason, message: expect.stringContaining(words) });
    expect(openFiles()).toBe(before);
  });

  it('a socket', async () => {
    const server = createServer().listen(inRoot('socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    expect(await errorOf(openImage('socket', roots, 'read-only'))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('socket'),
    });
    server.close();
  });

  it.each([
    ['c', 'IMAGE_UNUSABLE', 'is a device'],
    ['b', 'NOT_ALLOWED', '--allow block-devices'],
  ])('a device node of type %s', async (type, reason, words) => {
    if (process.getuid?.() !== 0) return;
    execFileSync('mknod', [inRoot('node'), type, '1', '3']);
    expect(await errorOf(openImage('node', roots, 'read-only'))).toMatchObject({
      reason,
      message: expect.stringContaining(words),
    });
  });

  it('has its control characters escaped', async () => {
    const error = await errorOf(openImage('bad\u001b[31m\nname', roots, 'read-only'));
    expect(error.message).toContain("image 'bad\\x1b[31m\\x0aname'");
  });

  it('includes everything if no root exists', async () => {
    const none = { directories: [join(scene.base, 'gone')] };
    expect(await errorOf(openImage('a.img', none, 'read-only'))).toMatchObject({ reason: 'OUTSIDE_IMAGE_ROOTS' });
  });

  it('includes files that the server may not read', async () => {
    if (process.getuid?.() === 0) return;
    execFileSync('chmod', ['0', inRoot('a.img')]);
    expect(await errorOf(openImage('a.img', roots, 'read-only'))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('has no right'),
    });
  });
});

describe('createImageFile', () => {
  it.each([
    ['new.img', () => inRoot('new.img')],
    ['sub/new.img', () => inRoot('sub/new.img')],
  ])('makes %s', async (path, expected) => {
    const image = await createImageFile(path, roots, true);
    await image.handle.write('made');
    await image.handle.close();
    expect(image).toMatchObject({ created: true, path: expected() });
    expect(readFileSync(expected(), 'utf8')).toBe('made');
  });

  it('leaves existing files', async () => {
    const image = await createImageFile('a.img', roots, true);
    await image.handle.close();
    expect(image.created).toBe(false);
    expect(readFileSync(inRoot('a.img'), 'utf8')).toBe('first a');
  });

  it.each([
    ['../out/new.img', 'OUTSIDE_IMAGE_ROOTS'],
    ['trap/new.img', 'OUTSIDE_IMAGE_ROOTS'],
    ['dangling', 'OUTSIDE_IMAGE_ROOTS'],
    ['inside', 'IMAGE_UNUSABLE'],
    ['nowhere/new.img', 'IMAGE_MISSING'],
    ['sub/new/', 'IMAGE_UNUSABLE'],
    ['sub', 'IMAGE_UNUSABLE'],
    ['', 'IMAGE_UNUSABLE'],
  ])('refuses %s', async (path, reason) => {
    symlinkSync(scene.outside, inRoot('trap'));
    symlinkSync(join(scene.outside, 'new.img'), inRoot('dangling'));
    symlinkSync('not-there', inRoot('inside'));
    const before = openFiles();
    expect(await errorOf(createImageFile(path, roots, false))).toMatchObject({ reason });
    expect(openFiles()).toBe(before);
    rmSync(inRoot('trap'));
    expect(() => readFileSync(join(scene.outside, 'new.img'))).toThrow('ENOENT');
  });
});

/** The format of an image that was written as a raw drive is not recognised from its contents. */
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FileMarks } from '../../../src/common/fileMarks.js';
import { createDisk } from '../../../src/images/createDisk.js';
import { diskFormat, diskHasBackingFile, diskVirtualSize } from '../../../src/images/diskQueries.js';
import { openImageChain } from '../../../src/images/imageChain.js';
import { RawMarks } from '../../../src/images/rawMarks.js';
import { openImage, type ImageRoots } from '../../../src/security/pathPolicy.js';
import { processesThatMention } from '../../support/processes.js';
import { errorOf, makeScene, qcow2Image, rawImage, type Scene } from './scene.js';

let scene: Scene;
let roots: ImageRoots;
beforeEach(() => {
  scene = makeScene();
  roots = { directories: [scene.root], backingFiles: true };
});
afterEach(() => scene.remove());

const inRoot = (name: string): string => join(scene.root, name);
async function attach(
  path: string,
  format: string | undefined,
  access: 'read-only' | 'read-write' = 'read-only',
  marks?: RawMarks,
): Promise<string> {
  const chain = await openImageChain(path, format, access, roots, () => undefined, undefined, marks);
  await chain.close();
  return chain.links[0].format;
}
/** Writes a qcow2 header into a disk, as a guest could. */
const becomeQcow2 = (name: string): void => {
  const image = readFileSync(qcow2Image(join(scene.outside, 'guest.qcow2'), '1M'));
  writeFileSync(inRoot(name), image, { flag: 'r+' });
};
const parentOf = (pid: number): number =>
  Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const query = () => ({
  imageRoots: roots,
  probe: () => Promise.reject(new Error('not here')),
  signal: new AbortController().signal,
});
const REFUSED = {
  reason: 'IMAGE_UNUSABLE',
  message: expect.stringMatching(/written as a raw drive.*state its format/),
};

describe('a raw drive that becomes a qcow2 image', () => {
  it.each(['raw', undefined])('needs its format stated (attached as %s)', async (format) => {
    rawImage(inRoot('a.img'), 1 << 20);
    expect(await attach('a.img', format, 'read-write')).toBe('raw');
    becomeQcow2('a.img');
    for (const access of ['read-only', 'read-write'] as const)
      expect(await errorOf(attach('a.img', undefined, access))).toMatchObject(REFUSED);
    for (const ask of [diskFormat, diskVirtualSize, diskHasBackingFile])
      expect(await errorOf(ask('a.img', query()) as Promise<unknown>)).toMatchObject(REFUSED);
    expect(await attach('a.img', 'raw')).toBe('raw');
    expect(await attach('a.img', 'qcow2')).toBe('qcow2');
  });

  it('keeps its mark under another name, and in a copy', async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    await attach('a.img', 'raw', 'read-write');
    becomeQcow2('a.img');
    renameSync(inRoot('a.img'), inRoot('b.img'));
    execFileSync('cp', ['-a', inRoot('b.img'), inRoot('c.img')]);
    for (const name of ['b.img', 'c.img']) expect(await errorOf(attach(name, undefined))).toMatchObject(REFUSED);
    expect(
      execFileSync('python3', ['-c', `import os; print(os.listxattr(${JSON.stringify(inRoot('b.img'))}))`]).toString(),
    ).toContain('user.guestfs-grpc.raw');
  });

  it('is known to a server that has been restarted', async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    await attach('a.img', 'raw', 'read-write');
    becomeQcow2('a.img');
    const anew = new RawMarks(new FileMarks('user.guestfs-grpc.raw'));
    expect(await errorOf(attach('a.img', undefined, 'read-only', anew))).toMatchObject(REFUSED);
  });

  it('loses its mark when disk_create overwrites it', async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    await attach('a.img', 'raw', 'read-write');
    becomeQcow2('a.img');
    const disk = { filename: 'a.img', format: 'qcow2', size: 1n << 20n, overwrite: true };
    await createDisk(disk, { imageRoots: roots, signal: new AbortController().signal });
    expect(await attach('a.img', undefined)).toBe('qcow2');
    expect(await diskFormat('a.img', query())).toBe('qcow2');
  });
});

describe('other images', () => {
  it('are recognised: one that was not written as raw, one that was only read as raw, and one that looks raw', async () => {
    qcow2Image(inRoot('a.qcow2'), '1M');
    expect(await attach('a.qcow2', undefined)).toBe('qcow2');
    expect(await attach('a.qcow2', 'raw')).toBe('raw');
    expect(await attach('a.qcow2', undefined, 'read-write')).toBe('qcow2');
    rawImage(inRoot('b.img'), 1 << 20);
    await attach('b.img', 'raw', 'read-write');
    expect(await attach('b.img', undefined)).toBe('raw');
  });

  it('must have the format that is stated', async () => {
    qcow2Image(inRoot('a.qcow2'), '1M');
    expect(await errorOf(attach('a.qcow2', 'vmdk'))).toMatchObject({ reason: 'IMAGE_UNUSABLE' });
    rawImage(inRoot('b.img'), 1 << 20);
    expect(await errorOf(attach('b.img', 'qcow2'))).toMatchObject({ reason: 'IMAGE_UNUSABLE' });
  });
});

describe('where files have no extended attributes', () => {
  const none = (): RawMarks =>
    new RawMarks({ start: async () => undefined, ask: async (command) => (command === 'set' ? 'EOPNOTSUPP' : 'no') });

  it('the server remembers the mark', async () => {
    const marks = none();
    rawImage(inRoot('a.img'), 1 << 20);
    await attach('a.img', 'raw', 'read-write', marks);
    becomeQcow2('a.img');
    expect(await errorOf(attach('a.img', undefined, 'read-only', marks))).toMatchObject(REFUSED);
  });

  it('but not that of a file that was deleted', async () => {
    const marks = none();
    for (let number = 0; number < 20; number++) {
      rawImage(inRoot('a.img'), 1 << 20);
      await attach('a.img', 'raw', 'read-write', marks);
      unlinkSync(inRoot('a.img'));
      qcow2Image(inRoot('a.img'), '1M');
      expect(await attach('a.img', undefined, 'read-only', marks)).toBe('qcow2');
      unlinkSync(inRoot('a.img'));
    }
  });

  it('removes the mark together with the contents', async () => {
    const marks = none();
    const image = await openImage(rawImage(inRoot('a.img'), 512), roots, 'read-write');
    await marks.mark(image);
    expect(await marks.isMarked(image)).toBe(true);
    await marks.clear(image);
    expect(await marks.isMarked(image)).toBe(false);
    await image.handle.close();
  });
});

describe('the process that marks files', () => {
  it('is restarted when it has ended, so that only few calls fail', async () => {
    const marks = new FileMarks('user.guestfs-grpc.test');
    const file = await open(rawImage(inRoot('a.img'), 512));
    expect(await marks.ask('has', file.fd)).toBe('no');
    expect(await marks.ask('set', file.fd)).toBe('yes');
    const asked = await Promise.all(Array.from({ length: 200 }, () => marks.ask('has', file.fd)));
    expect(new Set(asked)).toEqual(new Set(['yes']));
    const [helper] = processesThatMention('user.guestfs-grpc.test').filter(({ pid }) => parentOf(pid) === process.pid);
    process.kill(helper?.pid ?? 0, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await marks.ask('clear', file.fd)).toBe('no');
    expect(await marks.ask('has', 9999)).toBe('ENOENT');
    await file.close();
  });

  it('costs next to nothing', async () => {
    const marks = new FileMarks('user.guestfs-grpc.raw');
    const file = await open(rawImage(inRoot('a.img'), 512));
    await marks.ask('has', file.fd);
    const times: number[] = [];
    for (let number = 0; number < 101; number++) {
      const started = performance.now();
      await marks.ask(number % 2 === 0 ? 'set' : 'has', file.fd);
      times.push(performance.now() - started);
    }
    await file.close();
    // The median: the machine may be busy.
    expect(times.sort((one, other) => one - other)[50]).toBeLessThan(5);
  });
});

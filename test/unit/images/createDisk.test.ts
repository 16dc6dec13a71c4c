import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDisk, type CreateDiskContext, type DiskToCreate } from '../../../src/images/createDisk.js';
import { itWhen } from '../../support/itWhen.js';
import { errorOf, makeScene, openFiles, qcow2Image, qemuImg, rawImage, type Scene } from './scene.js';

const isRoot = process.geteuid?.() === 0;
let scene: Scene;
let context: CreateDiskContext;
beforeEach(() => {
  scene = makeScene();
  context = { imageRoots: { directories: [scene.root], backingFiles: true }, signal: new AbortController().signal };
});
afterEach(() => scene.remove());

const inRoot = (name: string): string => join(scene.root, name);
const info = (name: string): Record<string, unknown> =>
  JSON.parse(qemuImg('info', '--output=json', inRoot(name))) as Record<string, unknown>;

describe('raw disks', () => {
  it.each([
    [undefined, 0],
    ['off', 0],
    ['sparse', 0],
    ['full', 1 << 20],
  ])('preallocation %s', async (preallocation, allocated) => {
    await createDisk(
      { filename: 'a.img', format: 'raw', size: 1n << 20n, ...(preallocation === undefined ? {} : { preallocation }) },
      context,
    );
    const stats = statSync(inRoot('a.img'));
    expect(stats.size).toBe(1 << 20);
    expect(stats.blocks * 512).toBeGreaterThanOrEqual(allocated);
    if (allocated === 0) expect(stats.blocks * 512).toBeLessThan(8192);
  });

  it('has exactly the requested size', async () => {
    await createDisk({ filename: 'a.img', format: 'raw', size: 1001n }, context);
    expect(statSync(inRoot('a.img')).size).toBe(1001);
  });

  it('overwrites a file only if requested', async () => {
    writeFileSync(inRoot('a.img'), 'x'.repeat(5000));
    const disk = { filename: inRoot('a.img'), format: 'raw', size: 512n };
    for (const overwrite of [{}, { overwrite: false }]) {
      expect(await errorOf(createDisk({ ...disk, ...overwrite }, context))).toMatchObject({
        reason: 'EEXIST',
        message: `image '${inRoot('a.img')}' already exists: set overwrite to replace its content`,
      });
      expect(statSync(inRoot('a.img')).size).toBe(5000);
    }
    await createDisk({ ...disk, overwrite: true }, context);
    expect(statSync(inRoot('a.img'))).toMatchObject({ size: 512 });
  });
});

describe('qcow2 disks', () => {
  it('plain', async () => {
    await createDisk({ filename: 'a.qcow2', format: 'qcow2', size: 10n << 30n }, context);
    expect(info('a.qcow2')).toMatchObject({ format: 'qcow2', 'virtual-size': 10 * 2 ** 30 });
    expect(info('a.qcow2')).not.toHaveProperty('backing-filename');
  });

  it('with options', async () => {
    await createDisk(
      {
        filename: 'a.qcow2',
        format: 'qcow2',
        size: 1n << 20n,
        compat: '0.10',
        clustersize: 4096,
        preallocation: 'metadata',
      },
      context,
    );
    expect(info('a.qcow2')).toMatchObject({ 'cluster-size': 4096, 'format-specific': { data: { compat: '0.10' } } });
    await createDisk(
      { filename: 'b.qcow2', format: 'qcow2', size: 1n << 20n, compat: '1.1', preallocation: 'full' },
      context,
    );
    expect(info('b.qcow2')['actual-size']).toBeGreaterThanOrEqual(1 << 20);
  });

  it('on a backing file in the same directory, with its size and format', async () => {
    mkdirSync(inRoot('sub'));
    rawImage(inRoot('sub/base.img'), 3 << 20);
    await createDisk({ filename: 'sub/a.qcow2', format: 'qcow2', size: -1n, backingfile: 'base.img' }, context);
    expect(info('sub/a.qcow2')).toMatchObject({
      'virtual-size': 3 << 20,
      'backing-filename': 'base.img',
      'backing-filename-format': 'raw',
    });
  });

  it('on a backing file that is relative to an image root', async () => {
    mkdirSync(inRoot('sub'));
    qcow2Image(inRoot('base.qcow2'), '4M');
    await createDisk(
      { filename: 'sub/a.qcow2', format: 'qcow2', size: -1n, backingfile: 'base.qcow2', backingformat: 'qcow2' },
      context,
    );
    expect(info('sub/a.qcow2')).toMatchObject({
      'virtual-size': 4 << 20,
      // Who reads the header learns nothing of the host.
      'backing-filename': '../base.qcow2',
      'backing-filename-format': 'qcow2',
    });
  });

  it('on a VMDK with its data in another file, which it names by its descriptor', async () => {
    qemuImg('create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', inRoot('base.vmdk'), '4M');
    const disk = { filename: 'a.qcow2', format: 'qcow2', size: -1n, backingfile: 'base.vmdk', backingformat: 'vmdk' };
    await createDisk(disk, context);
    expect(info('a.qcow2')).toMatchObject({
      'virtual-size': 4 << 20,
      'backing-filename': 'base.vmdk',
      'backing-filename-format': 'vmdk',
    });
  });

  it('on an absolute backing file', async () => {
    rawImage(inRoot('base, with=comma'), 1 << 20);
    await createDisk(
      {
        filename: 'a.qcow2',
        format: 'qcow2',
        size: -1n,
        backingfile: inRoot('base, with=comma'),
        backingformat: 'raw',
      },
      context,
    );
    expect(info('a.qcow2')).toMatchObject({ 'backing-filename': inRoot('base, with=comma') });
  });
});

describe('what is refused leaves nothing behind', () => {
  const raw = { format: 'raw', size: 512n };
  const qcow2 = { format: 'qcow2', size: 512n };
  it.each<[string, Partial<DiskToCreate>, string, string]>([
    ['size 0', { ...raw, size: 0n }, 'BAD_ARGUMENT', 'size'],
    ['size -1', { ...qcow2, size: -1n }, 'BAD_ARGUMENT', 'size'],
    ['a size with a backing file', { ...qcow2, backingfile: 'base.img' }, 'BAD_ARGUMENT', 'size'],
    ['another format', { ...raw, format: 'vmdk' }, 'BAD_ARGUMENT', "'vmdk'"],
    ['raw with backing file', { ...raw, size: -1n, backingfile: 'base.img' }, 'BAD_ARGUMENT', 'backingfile'],
    ['raw with backing format', { ...raw, backingformat: 'raw' }, 'BAD_ARGUMENT', 'backingformat'],
    ['raw with compat', { ...raw, compat: '1.1' }, 'BAD_ARGUMENT', 'compat'],
    ['raw with cluster size', { ...raw, clustersize: 65536 }, 'BAD_ARGUMENT', 'clustersize'],
    ['raw with metadata', { ...raw, preallocation: 'metadata' }, 'BAD_ARGUMENT', 'preallocation'],
    ['raw with an odd preallocation', { ...raw, preallocation: 'toString' }, 'BAD_ARGUMENT', 'preallocation'],
    ['qcow2 with an odd preallocation', { ...qcow2, preallocation: 'falloc' }, 'BAD_ARGUMENT', 'preallocation'],
    ['an odd compat', { ...qcow2, compat: '2' }, 'BAD_ARGUMENT', 'compat'],
    ['a small cluster', { ...qcow2, clustersize: 256 }, 'BAD_ARGUMENT', 'clustersize'],
    ['a large cluster', { ...qcow2, clustersize: 4194304 }, 'BAD_ARGUMENT', 'clustersize'],
    ['an uneven cluster', { ...qcow2, clustersize: 1000 }, 'BAD_ARGUMENT', 'clustersize'],
    ['a backing format and no backing file', { ...qcow2, backingformat: 'raw' }, 'BAD_ARGUMENT', 'backingformat'],
    [
      'an odd backing format',
      { ...qcow2, size: -1n, backingfile: 'base.img', backingformat: 'raw,x=y' },
      'BAD_ARGUMENT',
      'backingformat',
    ],
    [
      'an unknown backing format',
      { ...qcow2, size: -1n, backingfile: 'base.img', backingformat: 'nbd' },
      'IMAGE_UNUSABLE',
      'known formats',
    ],
    [
      'a wrong backing format',
      { ...qcow2, size: -1n, backingfile: 'base.img', backingformat: 'qcow2' },
      'IMAGE_UNUSABLE',
      "not in format 'qcow2'",
    ],
    ['a missing backing file', { ...qcow2, size: -1n, backingfile: 'gone.img' }, 'IMAGE_MISSING', 'gone.img'],
    [
      'a backing file outside',
      { ...qcow2, size: -1n, backingfile: '/etc/passwd', backingformat: 'raw' },
      'OUTSIDE_IMAGE_ROOTS',
      '/etc/passwd',
    ],
    [
      'a backing file over a network',
      { ...qcow2, size: -1n, backingfile: 'nbd:localhost:1' },
      'IMAGE_UNUSABLE',
      'plain file name',
    ],
    ['itself as backing file', { ...qcow2, size: -1n, backingfile: 'new.img' }, 'IMAGE_UNUSABLE', 'itself'],
    ['a place outside', { ...raw, filename: '../out/new.img' }, 'OUTSIDE_IMAGE_ROOTS', 'new.img'],
    ['a place behind a link', { ...raw, filename: 'trap/new.img' }, 'OUTSIDE_IMAGE_ROOTS', 'new.img'],
    ['a missing directory', { ...raw, filename: 'gone/new.img' }, 'IMAGE_MISSING', 'gone'],
    ['a size that no file can have', { ...raw, size: 1n << 62n }, 'EFBIG', 'size'],
    ['an impossible size', { ...qcow2, size: 1n << 60n }, 'EFBIG', 'cannot be created'],
  ])('%s', async (_what, disk, reason, words) => {
    rawImage(inRoot('base.img'), 1 << 20);
    symlinkSync(scene.outside, inRoot('trap'));
    const before = openFiles();
    const error = await errorOf(createDisk({ filename: 'new.img', format: 'raw', size: 512n, ...disk }, context));
    expect(error).toMatchObject({ reason, message: expect.stringContaining(words) });
    expect(readdirSync(scene.root).sort()).toEqual(['base.img', 'trap']);
    expect(readdirSync(scene.outside)).toEqual([]);
    expect(openFiles()).toBe(before);
  });
});

describe('the program that makes a disk', () => {
  it('can write it, with no rights on any file', async () => {
    const qemuBinary = join(scene.base, 'qemu');
    const attempts = [
      'echo user $(id -u), $(grep CapEff /proc/self/status)',
      'echo by name: $(cat /proc/self/fd/4 2>&1)',
      'printf written >&4',
    ];
    writeFileSync(qemuBinary, `#!/bin/sh\n{ ${attempts.join('; ')}; } | tr '\\n' ' ' >&2\n`, { mode: 0o755 });
    writeFileSync(inRoot('a.img'), 'secret', { mode: 0o600 });
    const disk = { filename: 'a.img', format: 'raw', size: 512n, overwrite: true };
    const failed = await errorOf(createDisk(disk, { ...context, qemuBinary }));
    expect(failed.reason).toBe('QEMU_FAILED');
    expect(failed.message).toMatch(/CapEff: 0000000000000000/);
    if (isRoot) expect(failed.message).toMatch(/user 65534, .*by name: .*Permission denied/);
    expect(readFileSync(inRoot('a.img'), 'latin1')).toMatch(/written|secret/);
  });

  it('reports a lack of space as such', async () => {
    const reserved = { reserve: async () => [] };
    const size = 1n << 60n;
    const failed = await errorOf(
      createDisk({ filename: 'a.img', format: 'raw', size, preallocation: 'full' }, { ...context, disk: reserved }),
    );
    expect(['ENOSPC', 'EFBIG']).toContain(failed.reason);
    expect(readdirSync(scene.root)).toEqual([]);
  });

  it('does not overwrite an image that a qemu outside of the server has open', async () => {
    const image = qcow2Image(inRoot('a.qcow2'), '1M');
    const holder = spawn('qemu-io', ['-f', 'qcow2', image], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    const disk = { filename: 'a.qcow2', format: 'qcow2', size: 1n << 20n, overwrite: true };
    expect(await errorOf(createDisk(disk, context))).toMatchObject({ reason: 'IMAGE_LOCKED' });
    holder.stdin.end('quit\n');
    await once(holder, 'exit');
    await createDisk(disk, context);
  });
});

const name = 'a raw disk on a block device';
describe(name, () => {
  itWhen(name, isRoot ? undefined : 'it takes root')('is made by discarding what is there', async () => {
    const file = rawImage(join(scene.base, 'contents'), 4 << 20);
    writeFileSync(file, Buffer.alloc(4 << 20, 'x'));
    const device = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
    try {
      execFileSync('mknod', ['-m', '660', inRoot('disk'), 'b', '7', device.replace('/dev/loop', '')]);
      const disk = { filename: 'disk', format: 'raw', size: 512n, overwrite: true };
      const imageRoots = { ...context.imageRoots, blockDevices: true };
      await createDisk(disk, { ...context, imageRoots });
      expect(statSync(file).blocks).toBe(0);
      // One that is in use is left as it is.
      execFileSync('mkfs.ext4', ['-q', device]);
      const mountpoint = join(scene.base, 'mounted');
      mkdirSync(mountpoint);
      execFileSync('mount', [device, mountpoint]);
      try {
        await createDisk(disk, { ...context, imageRoots });
        expect(statSync(file).blocks).toBeGreaterThan(0);
      } finally {
        execFileSync('umount', [mountpoint]);
      }
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
  });
});

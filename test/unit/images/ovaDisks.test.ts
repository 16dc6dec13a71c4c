/** OVA files as drives: which of their files are disks, and what is refused. */
import { writeFileSync } from 'node:fs';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { abortController } from '../../../src/common/waiting.js';
import { drivesFromRequest } from '../../../src/images/addDriveRequest.js';
import { ImageClaims, ImageUses } from '../../../src/images/imageUses.js';
import { prepareDrives, type DriveContext, type PreparedDrives } from '../../../src/images/prepareDrives.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';
import { tarArchive, type TarEntry } from '../../support/tarArchive.js';
import {
  errorOf,
  fileDrive,
  makeScene,
  openFiles,
  overlayImage,
  qcow2Image,
  qemuImg,
  rawImage,
  type Scene,
} from './scene.js';

let scene: Scene;
let context: DriveContext;
beforeEach(() => {
  scene = makeScene();
  let files = 0;
  context = {
    runDirectory: scene.run,
    qemuBinary: '/nosuch/qemu',
    claims: new ImageClaims(new ImageUses()),
    signal: abortController().signal,
    fdSets: { add: () => `/dev/fdset/${++files}`, connect: ({ fd }) => String(fd) },
    probe: async () => 1n << 20n,
  };
});
afterEach(async () => {
  await context.claims.releaseAll();
  scene.remove();
});

const inRoot = (name: string): string => join(scene.root, name);
const roots = (): ImageRoots => ({ directories: [scene.root] });
const DESCRIPTOR = { name: 'machine.ovf', content: '<Envelope/>' };
const ova = (entries: readonly TarEntry[], name = 'a.ova'): string => {
  writeFileSync(inRoot(name), tarArchive([DESCRIPTOR, ...entries]));
  return name;
};
const made = (name: string, ...args: readonly string[]): Buffer => {
  qemuImg('create', '-q', ...args, inRoot(name), '1M');
  return readFileSync(inRoot(name));
};
const disksOf = async (name: string, more: object = {}): Promise<unknown[]> =>
  (await drivesFromRequest(name, { readonly: true, ...more }, roots())).map(({ source }) =>
    source.kind === 'file' ? source.disk : source.kind,
  );
const prepared = async (name: string, disk: string): Promise<PreparedDrives> =>
  prepareDrives(
    [fileDrive(name, { source: { kind: 'file', path: inRoot(name), name, disk, roots: roots() } })],
    context,
  );

describe('an OVA', () => {
  it('is a drive for each of its disks, in its order', async () => {
    const stream = (): Buffer => {
      rawImage(inRoot('raw'), 1 << 20);
      qemuImg('convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', inRoot('raw'), inRoot('stream'));
      return readFileSync(inRoot('stream'));
    };
    ova([
      { name: 'machine.mf', content: 'SHA256(machine.ovf)= 0' },
      { name: 'disk2.vmdk', content: stream() },
      { name: 'disk1', content: made('b', '-f', 'qcow2') },
      { name: 'nvram', content: Buffer.alloc(1024) },
      { name: 'disk3.img', content: Buffer.alloc(1024, 'x') },
    ]);
    expect(await disksOf('a.ova')).toEqual(['disk2.vmdk', 'disk1', 'disk3.img']);
    expect(await disksOf('a.ova', { format: 'ova' })).toEqual(['disk2.vmdk', 'disk1', 'disk3.img']);
    // A drive that really begins like one.
    expect(await disksOf('a.ova', { format: 'raw' })).toEqual([undefined]);
  });

  it('has each disk where it is in the archive, with the checked copy of its first bytes', async () => {
    const image = made('b', '-f', 'vmdk');
    ova([{ name: 'disk1.vmdk', content: image }]);
    const { drives, dispose } = await prepared('a.ova', 'disk1.vmdk');
    const [drive] = drives;
    const window = { offset: 1536, size: image.length };
    expect(drive?.subject).toBe("disk 'disk1.vmdk' of image 'a.ova'");
    expect(drive?.blockNodes).toMatchObject([
      { driver: 'file', 'node-name': 'drive0-file-body-whole', 'read-only': true },
      { driver: 'raw', 'node-name': 'drive0-file-body', file: 'drive0-file-body-whole', ...window },
      { driver: 'file', 'node-name': 'drive0-file-head' },
      { driver: 'qcow2', 'node-name': 'drive0-file', backing: 'drive0-file-body' },
      { driver: 'vmdk', 'node-name': 'drive0-image', backing: null },
      { driver: 'file' },
      { driver: 'qcow2', 'node-name': 'drive0', backing: 'drive0-image' },
    ]);
    await dispose();
  });

  it.each<[string, () => readonly TarEntry[], RegExp]>([
    ['no disk', () => [{ name: 'notes.txt', content: 'x' }], /without a disk image that is recognised/],
    ['a compressed disk', () => [{ name: 'd.vmdk.gz', content: '\x1f\x8b\x08' }], /'d.vmdk.gz'.*is .*extract the OVA/],
    ['a link', () => [{ name: 'disk1.vmdk', type: '2' }], /neither a file nor a directory/],
  ])('is refused with %s', async (_what, entries, message) => {
    const before = openFiles();
    ova(
      entries().map((one) =>
        one.content === '\x1f\x8b\x08' ? { ...one, content: Buffer.from('1f8b08', 'hex') } : one,
      ),
    );
    expect(await errorOf(disksOf('a.ova'))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(message),
    });
    expect(openFiles()).toBe(before);
  });

  it.each<[string, () => Buffer]>([
    ['a backing file', () => readFileSync(overlayImage(inRoot('over'), '/etc/shadow'))],
    ['a data file', () => readFileSync(qcow2Image(inRoot('q'), '1M', '-o', `data_file=${inRoot('d')}`))],
    [
      'extents',
      () => Buffer.from('# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\nRW 2048 FLAT "/etc/shadow" 0\n'),
    ],
  ])('has no disk with %s, whatever the server allows', async (_what, content) => {
    const before = openFiles();
    ova([{ name: 'disk', content: content() }]);
    expect(await errorOf(prepared('a.ova', 'disk'))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(/^disk 'disk' of image 'a.ova' refers to other files/),
    });
    expect(openFiles()).toBe(before);
  });

  it('is only read, and only it has its format', async () => {
    ova([{ name: 'disk1', content: made('b', '-f', 'qcow2') }]);
    expect(await errorOf(disksOf('a.ova', { readonly: false }))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('attach it read-only'),
    });
    expect(await errorOf(disksOf('b', { format: 'ova' }))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining("is not in format 'ova'"),
    });
    for (const more of [{ key: 'x' }, { backingFormats: ['raw'] }])
      expect(await errorOf(disksOf('a.ova', more))).toMatchObject({ reason: 'BAD_ARGUMENT' });
    ova([
      { name: 'disk1', content: made('b', '-f', 'qcow2') },
      { name: 'disk2.img', content: 'x' },
    ]);
    expect(await errorOf(disksOf('a.ova', { label: 'system' }))).toMatchObject({ reason: 'BAD_ARGUMENT' });
  });

  it('that has changed until the launch is read anew', async () => {
    ova([{ name: 'disk1', content: made('b', '-f', 'qcow2') }]);
    expect(await errorOf(prepared('a.ova', 'disk2'))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('is not there any more'),
    });
  });
});

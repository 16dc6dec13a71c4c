import { mkdtempSync, realpathSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { LibraryContext } from '../../../src/library/context.js';
import { debugActions } from '../../../src/library/debug.js';
import { deviceActions } from '../../../src/library/device.js';
import { deviceNameOf, driveIndexOf } from '../../../src/session/deviceNames.js';
import { driveActions } from '../../../src/library/drive.js';
import { GuestfsError } from '../../../src/common/errors.js';
import type { Session } from '../../../src/session/session.js';
import { aside, FakeDaemon } from './fakes.js';

let root: string;
let image: string;
let context: LibraryContext;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'drive-')));
  image = join(root, 'a.img');
  writeFileSync(image, '');
  truncateSync(image, 1 << 20);
  context = aside('add_drive', { imageRoots: { directories: [root] } });
});
afterEach(() => rmSync(root, { recursive: true }));

const none = { server: undefined };

describe('add_drive and its relatives', () => {
  it('add to the session', async () => {
    await driveActions.add_drive(context, {
      filename: image,
      ...none,
      format: 'raw',
      label: 'data',
      cachemode: 'unsafe',
      discard: 'besteffort',
      blocksize: 4096,
    });
    await driveActions.add_drive(context, { filename: image, ...none, cachemode: 'writeback' });
    await driveActions.add_drive_ro(context, { filename: 'a.img' });
    await driveActions.add_cdrom(context, { filename: image });
    await driveActions.add_drive_with_if(context, { filename: image, iface: 'ide' });
    await driveActions.add_drive_ro_with_if(context, { filename: image, iface: 'ide' });
    await driveActions.add_drive_scratch(context, { size: 512n, label: 'scratch' });
    expect(context.session.drives.map((drive) => [drive.source.kind, drive.readonly, drive.label])).toEqual([
      ['file', false, 'data'],
      ['file', false, undefined],
      ['file', true, undefined],
      ['file', true, undefined],
      ['file', false, undefined],
      ['file', true, undefined],
      ['scratch', false, 'scratch'],
    ]);
    expect(context.session.drives[0]).toMatchObject({
      format: 'raw',
      cacheMode: 'unsafe',
      discard: 'besteffort',
      blockSize: 4096,
    });
    expect((await debugActions.debug_drives(context, {})).cmdline).toEqual([
      `${image} format=raw protocol=file label=data cache=unsafe discard=besteffort blocksize=4096`,
      `${image} protocol=file cache=writeback`,
      // As the client has named it.
      'a.img readonly protocol=file',
      `${image} readonly protocol=file`,
      `${image} protocol=file`,
      `${image} readonly protocol=file`,
      '(scratch, 512 bytes) format=raw protocol=file label=scratch cache=unsafe',
    ]);
  });

  it('accept only images in the image roots', async () => {
    await expect(driveActions.add_drive(context, { filename: '/etc/passwd', ...none })).rejects.toMatchObject({
      reason: 'OUTSIDE_IMAGE_ROOTS',
    });
    await expect(driveActions.add_drive_ro(context, { filename: join(root, 'nosuch') })).rejects.toMatchObject({
      reason: 'IMAGE_MISSING',
    });
    expect(context.session.drives).toEqual([]);
  });

  it('treat a list of no servers as none', async () => {
    await driveActions.add_drive(context, { filename: image, server: { values: [] } });
    await expect(driveActions.add_drive(context, { filename: image, server: { values: ['x'] } })).rejects.toMatchObject(
      { reason: 'BAD_ARGUMENT' },
    );
  });

  it('are undone by remove_drive', async () => {
    await driveActions.add_drive_scratch(context, { size: 512n, label: 'data' });
    await driveActions.remove_drive(context, { label: 'data' });
    expect(context.session.drives).toEqual([]);
    await expect(driveActions.remove_drive(context, { label: 'data' })).rejects.toMatchObject({ reason: 'ENOENT' });
  });
});

describe('images on the server', () => {
  it('are created and queried', async () => {
    const filename = join(root, 'new.img');
    await driveActions.disk_create(context, { filename, format: 'raw', size: 4096n });
    expect(await driveActions.disk_format(context, { filename })).toEqual({ format: 'raw' });
    expect(await driveActions.disk_virtual_size(context, { filename })).toEqual({ size: 4096n });
    expect(await driveActions.disk_has_backing_file(context, { filename })).toEqual({ backingfile: false });
  });

  it('are limited in number', async () => {
    expect(await driveActions.max_disks(context, {})).toEqual({ disks: 255 });
  });
});

describe('names of devices', () => {
  it.each([
    [0, '/dev/sda'],
    [25, '/dev/sdz'],
    [26, '/dev/sdaa'],
    [701, '/dev/sdzz'],
    [702, '/dev/sdaaa'],
  ])('%d is %s', (index, name) => {
    expect(deviceNameOf(index)).toBe(name);
    expect(driveIndexOf(name)).toBe(index);
  });

  it.each([
    ['/dev/vdb', 1],
    ['/dev/hdc', 2],
    ['/dev/xvdd', 3],
    ['/dev/xvxda', undefined],
    ['/dev/sda1', undefined],
    ['/dev/sd', undefined],
    ['/dev/md0', undefined],
    ['/dev/vg/lv', undefined],
    ['sda', undefined],
    ['/dev/sdA', undefined],
    ['/dev/sdaaaaaaaaaa', undefined],
  ])('the index of %s is %s', async (device, index) => {
    if (index !== undefined) expect(await deviceActions.device_index(context, { device })).toEqual({ index });
    else
      await expect(deviceActions.device_index(context, { device })).rejects.toMatchObject({
        message: `${device}: device not found`,
      });
  });

  it('exist for the attached drives', async () => {
    await driveActions.add_drive_scratch(context, { size: 512n });
    expect(await deviceActions.device_name(context, { index: 0 })).toEqual({ name: '/dev/sda' });
    for (const index of [1, -1])
      await expect(deviceActions.device_name(context, { index })).rejects.toMatchObject({ reason: 'EINVAL' });
  });

  it.each([
    ['/dev/sda1', '/dev/sda1'],
    ['/dev/vdaaa', '/dev/sdaaa'],
    ['/dev/hdb2', '/dev/sdb2'],
    ['/dev/xvdc', '/dev/sdc'],
    ['/dev/md127', '/dev/md127'],
    ['/dev/vg/lv', '/dev/vg/lv'],
    ['/dev/mapper/vg-lv', '/dev/mapper/vg-lv'],
    ['nonsense', 'nonsense'],
    ['', ''],
  ])('%s is usually %s', async (device, canonical) => {
    expect(await deviceActions.canonical_device_name(context, { device })).toEqual({ canonical });
  });

  it('of logical volumes are queried from the daemon, if there is one', async () => {
    const daemon = new FakeDaemon({
      answers: {
        lvm_canonical_lv_name: ({ lvname }: { lvname: string }) =>
          lvname === '/dev/dm-0' ? { lv: '/dev/vg/lv' } : new GuestfsError('EINVAL', 'not a volume'),
      },
    });
    const session = {
      state: 'READY',
      perform: (_action: object, _request: object, _signal: AbortSignal, body: (one: FakeDaemon) => unknown) =>
        body(daemon),
    } as unknown as Session;
    const ready = aside('canonical_device_name', { session });
    expect(await deviceActions.canonical_device_name(ready, { device: '/dev/dm-0' })).toEqual({
      canonical: '/dev/vg/lv',
    });
    expect(await deviceActions.canonical_device_name(ready, { device: '/dev/mapper/luks' })).toEqual({
      canonical: '/dev/mapper/luks',
    });
  });
});

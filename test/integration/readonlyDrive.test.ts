/** Read-only drives: whatever is done to them, the images on the host do not change. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage, run, sha256 } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SIZE_MB = 96;
/** The file system on the first partition, KiB. */
const FILE_SYSTEM_KB = 32 * 1024;

type Call = readonly [action: string, request: object];

const bytes = (length: number): Buffer => Buffer.alloc(length, 0xa5);

/** On the file system that the image has from the start. */
const onFiles: readonly Call[] = [
  ['set_label', { mountable: '/dev/sda1', label: 'changed' }],
  ['tune2fs', { device: '/dev/sda1', maxmountcount: 7 }],
  ['e2fsck_f', { device: '/dev/sda1' }],
  ['mount', { mountable: '/dev/sda1', mountpoint: '/' }],
  ['write', { path: '/original', content: bytes(64 * 1024) }],
  ['write_append', { path: '/original', content: bytes(100) }],
  ['write', { path: '/new', content: bytes(1000) }],
  ['mkdir', { path: '/directory' }],
  ['mkdir_p', { path: '/deep/er/and/deeper' }],
  ['touch', { path: '/touched' }],
  ['chmod', { mode: 0o600, path: '/new' }],
  ['chown', { owner: 1, group: 2, path: '/new' }],
  ['lchown', { owner: 3, group: 4, path: '/touched' }],
  ['utimens', { path: '/new', atsecs: 1n, atnsecs: 0n, mtsecs: 2n, mtnsecs: 0n }],
  ['ln', { target: '/new', linkname: '/hard' }],
  ['ln_s', { target: 'new', linkname: '/soft' }],
  ['mknod', { mode: 0o10600, devmajor: 0, devminor: 0, path: '/fifo' }],
  ['setxattr', { xattr: 'user.key', val: 'value', vallen: 5, path: '/new' }],
  ['set_e2attrs', { file: '/new', attrs: 'd' }],
  ['fill', { c: 0x5a, len: MEBIBYTE, path: '/filled' }],
  ['fallocate64', { path: '/allocated', len: BigInt(MEBIBYTE) }],
  ['truncate_size', { path: '/filled', size: 10n }],
  ['cp', { src: '/new', dest: '/copy' }],
  ['mv', { src: '/copy', dest: '/moved' }],
  ['rename', { oldpath: '/moved', newpath: '/renamed' }],
  ['pwrite', { path: '/original', content: bytes(10), offset: 5000n }],
  ['rm', { path: '/original' }],
  ['rmdir', { path: '/directory' }],
  ['rm_rf', { path: '/deep' }],
  ['sync', {}],
];

/** On the entire drive, until none of its content is left. */
const onDevices: readonly Call[] = [
  ['umount', { pathordevice: '/' }],
  ['e2fsck_f', { device: '/dev/sda1' }], // or its UUID cannot be changed
  ['set_uuid', { device: '/dev/sda1', uuid: '12345678-1234-1234-1234-123456789abc' }],
  ['part_set_name', { device: '/dev/sda', partnum: 1, name: 'changed' }],
  ['part_add', { device: '/dev/sda', prlogex: 'p', startsect: 81920n, endsect: 131071n }],
  ['part_set_bootable', { device: '/dev/sda', partnum: 1, bootable: true }],
  ['mkswap', { device: '/dev/sda2' }],
  ['mkfs', { fstype: 'ext2', device: '/dev/sda2' }],
  ['wipefs', { device: '/dev/sda2' }],
  ['pvcreate', { device: '/dev/sda2' }],
  ['vgcreate', { volgroup: 'vg', physvols: ['/dev/sda2'] }],
  ['lvcreate', { logvol: 'lv', volgroup: 'vg', mbytes: 8 }],
  ['mke2fs', { device: '/dev/vg/lv', label: 'lv' }],
  ['lvremove', { device: '/dev/vg/lv' }],
  ['vgremove', { vgname: 'vg' }],
  ['pvremove', { device: '/dev/sda2' }],
  ['zero', { device: '/dev/sda2' }],
  ['part_del', { device: '/dev/sda', partnum: 2 }],
  ['part_disk', { device: '/dev/sda', parttype: 'mbr' }],
  ['pwrite_device', { device: '/dev/sda', content: bytes(4096), offset: BigInt(MEBIBYTE) }],
  ['zero_device', { device: '/dev/sda' }],
];

describeWithAppliance('read-only drives', () => {
  const scene = serverForTests({ flags: ['--allow', 'backing-files'] });
  let images: readonly string[];
  let before: readonly string[];
  let session: SessionClient;

  const fingerprints = (): Promise<string[]> =>
    Promise.all(images.map(async (image) => `${await sha256(image)} ${statSync(image).mtimeMs}`));

  const callAll = async (calls: readonly Call[]): Promise<void> => {
    for (const [action, request] of calls) {
      await session.call(action, request).catch((error: unknown) => {
        throw new Error(`${action} failed`, { cause: error });
      });
    }
  };

  beforeAll(async () => {
    const raw = emptyImage(join(scene.server.images, 'disk.img'), SIZE_MB);
    run('sgdisk', '--new=1:2048:67583', raw);
    run('mke2fs', '-q', '-t', 'ext4', '-L', 'original', '-E', `offset=${MEBIBYTE}`, raw, `${FILE_SYSTEM_KB}k`);
    const base = join(scene.server.images, 'base.img');
    run('cp', '--sparse=always', raw, base);
    const overlay = join(scene.server.images, 'overlay.qcow2');
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.img', '-F', 'raw', overlay);
    images = [raw, base, overlay];
    before = await fingerprints();
    session = await launchSession(scene.client, [
      imageDrive('disk.img', { writable: false }),
      imageDrive('overlay.qcow2', { writable: false, format: 'qcow2' }),
    ]);
  });

  it('can be written to nevertheless: files, by every means', async () => {
    await callAll(onFiles);
    await session.upload('upload', { remotefilename: '/uploaded' }, [bytes(MEBIBYTE)]);
    expect(await session.call('filesize', { file: '/uploaded' })).toBe(BigInt(MEBIBYTE));
    expect(await session.call('exists', { path: '/original' })).toBe(false);
  });

  it('can be written to: partitions, file systems, volumes, and everything at once', async () => {
    await callAll(onDevices);
    expect(await session.call('is_zero_device', { device: '/dev/sda' })).toBe(true);
    expect(onFiles.length + onDevices.length).toBeGreaterThanOrEqual(50);
  });

  it('can have a backing file', async () => {
    await session.call('mount', { mountable: '/dev/sdb1', mountpoint: '/' });
    await session.call('write', { path: '/new', content: bytes(MEBIBYTE) });
    await session.call('umount', { pathordevice: '/' });
    await session.call('pwrite_device', { device: '/dev/sdb', content: bytes(4096), offset: 0n });
    await session.call('zero_device', { device: '/dev/sdb' });
  });

  it('are unchanged on the host', async () => {
    await session.call('sync');
    expect(await fingerprints()).toEqual(before);
    await scene.client.deleteSession(session.id);
    expect(await fingerprints()).toEqual(before);
    expect(debugfs(images[0] ?? '', MEBIBYTE, 'show_super_stats -h')).toMatch(/volume name: +original/);
  });
});

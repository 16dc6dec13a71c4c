/** Drives that are attached to and detached from a running session: with every kind of launch and older daemons. */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { builtAppliance, describeWhen, describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage, run, sha256 } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SIZE = 32 * MEBIBYTE;

interface Server {
  readonly suite: string;
  readonly flags: readonly string[];
}

const SERVERS: Record<string, Server> = {
  'a clone': { suite: 'trixie', flags: ['--launch', 'template'] },
  'a clone from the pool': { suite: 'trixie', flags: ['--pool', '1'] },
  'a booted appliance': { suite: 'trixie', flags: ['--launch', 'cold'] },
  'a booted appliance with a daemon of 1.48': { suite: 'bookworm', flags: ['--launch', 'cold'] },
};

for (const [name, { suite, flags }] of Object.entries(SERVERS)) {
  const appliance = builtAppliance(suite);
  describeWhen(
    `drives of ${name}`,
    appliance === undefined ? `there is no appliance: npm run appliance -- --suite ${suite}` : undefined,
    () => {
      const scene = serverForTests({ flags: ['--debug-service', '--appliance', appliance ?? '', ...flags] });
      const image = (file: string): string => join(scene.server.images, file);
      const add = (session: SessionClient, file: string, more: object = {}): Promise<unknown> =>
        session.call('add_drive', { filename: image(file), format: 'raw', ...more });

      it('are attached, written and detached, and leave a consistent image', async () => {
        const session = await launchSession(scene.client, [scratchDrive(SIZE)]);
        emptyImage(image('one.img'), 32);
        await add(session, 'one.img', { label: 'one' });
        expect(await session.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
        expect(await session.call('device_name', { index: 1 })).toBe('/dev/sdb');
        expect(new Map(await session.call('list_disk_labels'))).toEqual(new Map([['one', '/dev/sdb']]));
        expect((await scene.client.getSession(session.id)).drives).toBe(2);
        await session.call('part_disk', { device: '/dev/disk/guestfs/one', parttype: 'gpt' });
        await session.call('mkfs', { fstype: 'ext4', device: '/dev/sdb1' });
        await session.call('mount', { mountable: '/dev/sdb1', mountpoint: '/' });
        await session.call('write', { path: '/file', content: Buffer.from('kept') });

        const used = await failureOf(session.call('remove_drive', { label: 'one' }));
        expect(used.info).toMatchObject({ reason: 'EBUSY' });
        expect(used.details).toContain('the drive is in use, mounted on /: unmount it');
        expect(await session.call('cat', { path: '/file' })).toBe('kept');

        await session.call('umount', { pathordevice: '/' });
        await session.call('remove_drive', { label: 'one' });
        expect(await session.call('list_devices')).toEqual(['/dev/sda']);
        expect(await session.call('list_partitions')).toEqual([]);
        expect((await scene.client.getSession(session.id)).drives).toBe(1);
        expect((await failureOf(session.call('device_name', { index: 1 }))).info).toMatchObject({ reason: 'EINVAL' });
        // The session is still running; the image is no longer in use.
        expect(run('qemu-img', 'info', image('one.img'))).toContain('file format: raw');
        expect(debugfs(image('one.img'), MEBIBYTE / 16, 'cat /file')).toBe('kept');
        const other = await launchSession(scene.client, [imageDrive('one.img')]);
        await scene.client.deleteSession(other.id);
        await scene.client.deleteSession(session.id);
      });

      it('get the free names', async () => {
        const session = await launchSession(scene.client, [
          scratchDrive(SIZE),
          scratchDrive(2 * SIZE, { label: 'second' }),
          scratchDrive(3 * SIZE, { label: 'third' }),
        ]);
        const sizes = async (): Promise<Record<string, number>> => {
          const found: Record<string, number> = {};
          for (const device of (await session.call('list_devices')) as string[])
            found[device] = Number(await session.call('blockdev_getsize64', { device })) / SIZE;
          return found;
        };
        expect(await sizes()).toEqual({ '/dev/sda': 1, '/dev/sdb': 2, '/dev/sdc': 3 });
        await session.call('remove_drive', { label: 'third' });
        await session.call('remove_drive', { label: 'second' });
        expect(await sizes()).toEqual({ '/dev/sda': 1 });
        for (const [label, times] of [
          ['fourth', 4],
          ['fifth', 5],
          ['sixth', 6],
        ] as const)
          await session.call('add_drive_scratch', { size: BigInt(times * SIZE), label });
        expect(Object.values(await sizes()).sort()).toEqual([1, 4, 5, 6]);
        const labels = new Map<string, string>(await session.call('list_disk_labels'));
        const bySize = await sizes();
        expect([...labels].map(([label, device]) => [label, bySize[device]])).toEqual(
          expect.arrayContaining([
            ['fourth', 4],
            ['fifth', 5],
            ['sixth', 6],
          ]),
        );
        expect(Object.keys(bySize)).toEqual(['/dev/sda', '/dev/sdb', '/dev/sdc', '/dev/sdd']);
        await scene.client.deleteSession(session.id);
      });

      it('have their volume groups started, and are kept as long as these are', async () => {
        emptyImage(image('group.img'), 64);
        const first = await launchSession(scene.client, [imageDrive('group.img')]);
        await first.call('pvcreate', { device: '/dev/sda' });
        await first.call('vgcreate', { volgroup: 'group', physvols: ['/dev/sda'] });
        await first.call('lvcreate', { logvol: 'one', volgroup: 'group', mbytes: 16 });
        await scene.client.deleteSession(first.id);

        const session = await launchSession(scene.client, [scratchDrive(SIZE)]);
        await add(session, 'group.img', { label: 'group' });
        expect(await session.call('lvs')).toEqual(['/dev/group/one']);
        await session.call('mkfs', { fstype: 'ext2', device: '/dev/group/one' });
        const used = await failureOf(session.call('remove_drive', { label: 'group' }));
        expect(used.info).toMatchObject({ reason: 'EBUSY' });
        expect(used.details).toContain('part of group-one');
        await session.call('vg_activate', { activate: false, volgroups: ['group'] });
        await session.call('remove_drive', { label: 'group' });
        expect(await session.call('pvs')).toEqual([]);
        await add(session, 'group.img', { label: 'again' });
        expect(await session.call('vfs_type', { mountable: '/dev/group/one' })).toBe('ext2');
        await scene.client.deleteSession(session.id);
      });

      it('are not written when they are read-only, and are refused in words that help', async () => {
        const session = await launchSession(scene.client, [scratchDrive(SIZE)]);
        emptyImage(image('kept.img'), 32);
        const before = await sha256(image('kept.img'));
        await add(session, 'kept.img', { readonly: true, label: 'kept' });
        await session.call('mkfs', { fstype: 'ext4', device: '/dev/sdb' });
        expect((await failureOf(add(session, 'kept.img', { label: 'kept' }))).info).toMatchObject({ reason: 'EEXIST' });
        expect((await failureOf(session.call('remove_drive', { label: 'other' }))).info).toMatchObject({
          reason: 'ENOENT',
        });
        expect((await failureOf(add(session, 'missing.img'))).info).toMatchObject({ reason: 'IMAGE_MISSING' });
        await session.call('remove_drive', { label: 'kept' });
        expect(await sha256(image('kept.img'))).toBe(before);

        emptyImage(image('taken.img'), 32);
        const holder = await launchSession(scene.client, [imageDrive('taken.img')]);
        expect((await failureOf(add(session, 'taken.img'))).info).toMatchObject({ reason: 'IMAGE_LOCKED' });
        await scene.client.deleteSession(holder.id);
        // The failure left nothing behind: the same drive can be attached later.
        await add(session, 'taken.img');
        expect(await session.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
        await scene.client.deleteSession(session.id);
      });
    },
  );
}

describeWithAppliance('a drive that came to a session that runs', () => {
  const scene = serverForTests({ flags: ['--allow', 'backing-files'] });
  const image = (file: string): string => join(scene.server.images, file);

  it('cannot be detached while it is swap, part of an array, or under an open encrypted device', async () => {
    const session = await launchSession(scene.client, [scratchDrive(SIZE)]);
    for (const label of ['swap', 'array', 'secret'])
      await session.call('add_drive_scratch', { size: BigInt(2 * SIZE), label });
    const names = new Map<string, string>(await session.call('list_disk_labels'));
    const refused = async (label: string, use: string): Promise<void> => {
      const failure = await session.failure('remove_drive', { label });
      expect(failure).toMatchObject({
        code: status.FAILED_PRECONDITION,
        details: expect.stringContaining(`the drive is in use, ${use}`),
        info: { reason: 'EBUSY', metadata: { action: 'remove_drive' } },
      });
    };
    const device = (label: string): string => names.get(label) ?? '';

    await session.call('mkswap', { device: device('swap') });
    await session.call('swapon_device', { device: device('swap') });
    await refused('swap', 'swap');
    await session.call('swapoff_device', { device: device('swap') });

    await session.call('md_create', {
      name: 'pair',
      devices: [device('array')],
      level: 'raid1',
      missingbitmap: 2n,
      nrdevices: 2,
    });
    const [md]: string[] = await session.call('list_md_devices');
    await refused('array', `part of ${md?.slice('/dev/'.length)}`);
    await session.call('md_stop', { md });

    const key = { device: device('secret'), key: 'key' };
    await session.call('luks_format', { ...key, keyslot: 0 });
    await session.call('cryptsetup_open', { ...key, mapname: 'opened' });
    await refused('secret', 'part of opened');
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/mapper/opened' });
    await session.call('cryptsetup_close', { device: '/dev/mapper/opened' });

    for (const label of ['swap', 'array', 'secret']) await session.call('remove_drive', { label });
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    await scene.client.deleteSession(session.id);
  });

  it('has the requested sector size, and discards if requested', async () => {
    const session = await launchSession(scene.client, [scratchDrive(SIZE)]);
    const blocks: Record<string, number> = {};
    for (const [index, discard] of ['enable', 'disable'].entries()) {
      const file = emptyImage(image(`${discard}.img`), 32);
      await session.call('add_drive', {
        filename: file,
        format: 'raw',
        label: discard,
        discard,
        ...(index === 0 ? { blocksize: 4096 } : {}),
      });
      const device = `/dev/disk/guestfs/${discard}`;
      expect(await session.call('blockdev_getss', { device })).toBe(index === 0 ? 4096 : 512);
      for (let offset = 0; offset < 8; offset += 1)
        await session.call('pwrite_device', {
          device,
          content: Buffer.alloc(MEBIBYTE, 'x'),
          offset: BigInt(offset * MEBIBYTE),
        });
      await session.call('sync');
      expect(statSync(file).blocks * 512).toBeGreaterThanOrEqual(8 * MEBIBYTE);
      await session.call('blkdiscard', { device }).catch((error: unknown) => error);
      await session.call('remove_drive', { label: discard });
      blocks[discard] = statSync(file).blocks * 512;
    }
    expect(blocks['enable']).toBeLessThan(MEBIBYTE);
    expect(blocks['disable']).toBeGreaterThanOrEqual(8 * MEBIBYTE);
    await scene.client.deleteSession(session.id);
  });

  it('keeps what was read from its backing file, if requested', async () => {
    const session = await launchSession(scene.client, [scratchDrive(SIZE)]);
    writeFileSync(image('below.img'), Buffer.alloc(8 * MEBIBYTE, 'below '));
    const held: Record<string, number> = {};
    for (const [label, copyonread] of [
      ['copied', true],
      ['left', false],
    ] as const) {
      run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image('below.img'), '-F', 'raw', image(`${label}.qcow2`));
      await session.call('add_drive', { filename: image(`${label}.qcow2`), format: 'qcow2', label, copyonread });
      const read: Buffer = await session.call('pread_device', {
        device: `/dev/disk/guestfs/${label}`,
        count: 2 * MEBIBYTE,
        offset: BigInt(MEBIBYTE),
      });
      expect(read.equals(Buffer.alloc(8 * MEBIBYTE, 'below ').subarray(MEBIBYTE, 3 * MEBIBYTE))).toBe(true);
      await session.call('remove_drive', { label });
      const map = JSON.parse(run('qemu-img', 'map', '--output=json', image(`${label}.qcow2`))) as {
        readonly depth: number;
        readonly length: number;
      }[];
      held[label] = map.filter(({ depth }) => depth === 0).reduce((sum, { length }) => sum + length, 0);
    }
    expect(held['copied']).toBeGreaterThanOrEqual(2 * MEBIBYTE);
    expect(held['left']).toBe(0);
    await scene.client.deleteSession(session.id);
  });
});

/**
 * A session is the same whether its appliance was booted or cloned from one that has booted:
 * the same tests, both ways.
 */
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { dynamicDisk, GROUP_GUID, GROUP_NAME, SIMPLE_VOLUME, SPANNED_VOLUME } from '../support/dynamicDisks.js';
import { inGuest, launchAs, linesInGuest, type Kind } from '../support/launchKinds.js';
import { launchSession, serverForTests, type Scene } from '../support/scene.js';
import { imageDrive, scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const KINDS: readonly Kind[] = ['template', 'cold'];

/** Where the images are that sessions of both kinds get. */
let images: string;
beforeAll(async () => {
  images = await mkdtemp(join(tmpdir(), 'launch-kinds-'));
  await chmod(images, 0o755);
});
afterAll(() => rm(images, { recursive: true }));

const image = (name: string): string => join(images, `${name}.img`);
const attached = (...names: readonly string[]): DriveSpec[] => names.map((name) => imageDrive(image(name)));
const deviceOfVolume = ({ name }: { readonly name: string }): string => `/dev/mapper/ldm_vol_${GROUP_NAME}_${name}`;
const serverLaunching = (kind: Kind): Scene =>
  serverForTests(() => ({
    flags: ['--launch', kind, '--debug-service', '--allow', 'network', '--image-root', images],
  }));

/** What sessions of a kind showed, to be compared in the end. */
const seen: Record<Kind, Map<string, unknown>> = { template: new Map(), cold: new Map() };

/**
 * All names of disks. Not what they lead to, since a kernel that boots names disks in the order in
 * which it happens to find them, which the daemon hides. Nor the numbers that each disk has only once.
 */
const DISK_LINKS = 'cd /dev/disk; find . -type l ! -path "./by-diskseq/*" | LC_ALL=C sort';

/** Writes a file with its location to each mountable. */
async function mark(session: SessionClient, ...mountables: readonly string[]): Promise<void> {
  for (const mountable of mountables) {
    await session.call('mount', { mountable, mountpoint: '/' });
    await session.call('write', { path: '/where', content: Buffer.from(mountable) });
    await session.call('umount', { pathordevice: '/' });
  }
}

/** What {@link mark} wrote. */
async function markOf(session: SessionClient, mountable: string): Promise<string> {
  await session.call('mount', { mountable, mountpoint: '/' });
  const content: string = await session.call('cat', { path: '/where' });
  await session.call('umount', { pathordevice: '/' });
  return content;
}

/** Sizes, MiB. */
async function sizesOf(session: SessionClient, devices: readonly string[]): Promise<number[]> {
  const sizes: number[] = [];
  for (const device of devices) sizes.push(Number(await session.call('blockdev_getsize64', { device })) / MEBIBYTE);
  return sizes;
}

describeWithAppliance('the appliance of a session', () => {
  describe('that made disks', () => {
    const scene = serverLaunching('template');

    it('shuts them down properly', async () => {
      for (const name of ['parts', 'physical', 'btrfs', 'btrfs-one', 'btrfs-two']) emptyImage(image(name), 256);
      const plain = await launchAs('template', scene, attached('parts', 'physical', 'btrfs', 'btrfs-one', 'btrfs-two'));
      await plain.call('part_init', { device: '/dev/sda', parttype: 'gpt' });
      for (const [first, last] of [
        [2048, 204799],
        [204800, 409599],
      ])
        await plain.call('part_add', {
          device: '/dev/sda',
          prlogex: 'p',
          startsect: BigInt(first as number),
          endsect: BigInt(last as number),
        });
      // Of two with the same name, udev may choose either for the link.
      for (const [partnum, name] of [
        [1, 'physical'],
        [2, 'plain'],
      ])
        await plain.call('part_set_name', { device: '/dev/sda', partnum, name });
      for (const device of ['/dev/sda1', '/dev/sdb']) await plain.call('pvcreate', { device });
      await plain.call('vgcreate', { volgroup: 'group', physvols: ['/dev/sda1', '/dev/sdb'] });
      for (const logvol of ['one', 'two']) await plain.call('lvcreate', { logvol, volgroup: 'group', mbytes: 120 });
      await plain.call('mkfs', { fstype: 'ext4', device: '/dev/group/one', label: 'in-volume' });
      await plain.call('mkfs', { fstype: 'ext2', device: '/dev/sda2', label: 'in-partition' });
      await plain.call('mkfs_btrfs', { devices: ['/dev/sdc'], label: 'single' });
      await plain.call('mkfs_btrfs', {
        devices: ['/dev/sdd', '/dev/sde'],
        label: 'pair',
        datatype: 'raid1',
        metadata: 'raid1',
      });
      await mark(plain, '/dev/group/one', '/dev/sda2', '/dev/sdc', '/dev/sdd');
      await scene.client.deleteSession(plain.id);

      const members = ['whole-a', 'whole-b', 'degraded-a', 'degraded-b', 'volume-a', 'volume-b'];
      for (const name of members) emptyImage(image(name), 32);
      const arrays = await launchAs('template', scene, attached(...members));
      for (const [name, devices] of [
        ['whole', ['/dev/sda', '/dev/sdb']],
        ['degraded', ['/dev/sdc', '/dev/sdd']],
        ['volume', ['/dev/sde', '/dev/sdf']],
      ]) {
        await arrays.call('md_create', { name, devices, level: 'raid1' });
      }
      await arrays.call('pvcreate', { device: '/dev/md/volume' });
      await arrays.call('vgcreate', { volgroup: 'on_array', physvols: ['/dev/md/volume'] });
      await arrays.call('lvcreate', { logvol: 'one', volgroup: 'on_array', mbytes: 16 });
      for (const device of ['/dev/md/whole', '/dev/md/degraded', '/dev/on_array/one'])
        await arrays.call('mkfs', { fstype: 'ext2', device });
      await mark(arrays, '/dev/md/whole', '/dev/md/degraded', '/dev/on_array/one');
      await scene.client.deleteSession(arrays.id);

      for (const table of ['mbr', 'gpt'] as const) dynamicDisk(image(`dynamic-${table}`), table);
      const dynamic = await launchAs('template', scene, attached('dynamic-mbr', 'dynamic-gpt'));
      const volumes = [SIMPLE_VOLUME, SPANNED_VOLUME].map(deviceOfVolume);
      for (const device of volumes) await dynamic.call('mkfs', { fstype: 'ext2', device });
      await mark(dynamic, ...volumes);
      await scene.client.deleteSession(dynamic.id);
    });
  });

  describe.each(KINDS)('that is launched with --launch %s', (kind) => {
    const scene = serverLaunching(kind);
    let session: SessionClient | undefined;
    const launch = async (drives: DriveSpec[]): Promise<SessionClient> => {
      if (session !== undefined) await scene.client.deleteSession(session.id);
      session = await launchAs(kind, scene, drives);
      return session;
    };

    it('sees partitions, volume groups and Btrfs at once', async () => {
      const found = await launch(attached('parts', 'physical', 'btrfs', 'btrfs-one', 'btrfs-two'));
      const file_systems: Map<string, string> = await found.call('list_filesystems');
      expect(Object.fromEntries(file_systems)).toEqual({
        '/dev/sda2': 'ext2',
        '/dev/sdc': 'btrfs',
        '/dev/sdd': 'btrfs',
        '/dev/sde': 'btrfs',
        '/dev/group/one': 'ext4',
        '/dev/group/two': 'unknown',
      });
      expect(await found.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb', '/dev/sdc', '/dev/sdd', '/dev/sde']);
      expect(await found.call('list_partitions')).toEqual(['/dev/sda1', '/dev/sda2']);
      expect(await found.call('vgs')).toEqual(['group']);
      expect(await found.call('lvs')).toEqual(['/dev/group/one', '/dev/group/two']);
      // The daemon sorts these by the names of its kernel, which finds disks in any order, and renames them afterwards.
      const physical: string[] = await found.call('pvs');
      expect(physical.sort()).toEqual(['/dev/sda1', '/dev/sdb']);
      expect(await found.call('list_md_devices')).toEqual([]);
      for (const [shown, written] of [
        ['/dev/group/one'],
        ['/dev/sda2'],
        ['/dev/sdc'],
        ['/dev/sdd'],
        ['/dev/sde', '/dev/sdd'],
      ]) {
        expect(await markOf(found, shown as string)).toBe(written ?? shown);
      }
      seen[kind].set('links to disks', await linesInGuest(found, DISK_LINKS));
      seen[kind].set(
        'volumes',
        await linesInGuest(found, 'ls /dev/mapper /dev/group; lvm vgs; lvm lvs -o lv_name,lv_attr,lv_size'),
      );
      // Without anything that depends on the kernel's choice of names or on times.
      const properties =
        // eslint-disable-next-line no-template-curly-in-string -- the shell's
        'for link in $(find . -path "./by-path/*scsi*" -type l | sort); do echo $link; disk=$(readlink -f $link); udevadm info --query=property --name=$disk | grep -Ev "^(DEV|MINOR=|USEC_INITIALIZED=|DISKSEQ=|ID_PART_ENTRY_DISK=)"; cat /sys/class/block/${disk#/dev/}/device/timeout 2>/dev/null || :; done';
      seen[kind].set('properties of the disks', await linesInGuest(found, `cd /dev/disk; ${properties}`));
    });

    it('sees arrays, complete and degraded, and volume groups on them', async () => {
      const found = await launch(attached('whole-a', 'whole-b', 'degraded-a', 'volume-a', 'volume-b'));
      const file_systems: Map<string, string> = await found.call('list_filesystems');
      const device: Record<string, string> = {};
      for (const name of ['whole', 'volume'])
        device[name] = (await inGuest(found, `readlink -f /dev/md/${name}`)).trim();
      // udev has begun with the degraded one, and mdadm leaves that alone when libguestfs boots; here it is started.
      expect(await linesInGuest(found, 'grep -c " : active" /proc/mdstat; grep -c inactive /proc/mdstat || :')).toEqual(
        ['3', '0'],
      );
      const arrays: readonly string[] = await found.call('list_md_devices');
      const [degraded = ''] = arrays.filter((one) => !Object.values(device).includes(one));
      expect(Object.fromEntries(file_systems)).toEqual({
        [degraded]: 'ext2',
        [device['whole'] as string]: 'ext2',
        '/dev/on_array/one': 'ext2',
      });
      expect(await found.call('vgs')).toEqual(['on_array']);
      expect(await found.call('lvs')).toEqual(['/dev/on_array/one']);
      for (const md of Object.values(device)) {
        const detail: Map<string, string> = await found.call('md_detail', { md });
        expect(Object.fromEntries(detail)).toMatchObject({ level: 'raid1', devices: '2' });
        expect(await linesInGuest(found, `cat /sys/block/${md.slice(5)}/md/dev-*/state`)).toEqual([
          'in_sync',
          'in_sync',
        ]);
      }
      expect(await markOf(found, device['whole'] as string)).toBe('/dev/md/whole');
      expect(await markOf(found, '/dev/on_array/one')).toBe('/dev/on_array/one');
      seen[kind].set('links to arrays', await linesInGuest(found, 'ls /dev/md'));
      seen[kind].set('links to disks with arrays', await linesInGuest(found, DISK_LINKS));
    });

    it('sees the volumes of dynamic disks of Windows', async () => {
      const found = await launch(attached('dynamic-mbr', 'dynamic-gpt'));
      const volumes = [SIMPLE_VOLUME, SPANNED_VOLUME].map(deviceOfVolume);
      expect(await found.call('list_ldm_volumes')).toEqual(volumes);
      for (const volume of volumes) expect(await markOf(found, volume)).toBe(volume);
      expect(await found.call('ldmtool_scan')).toEqual([GROUP_GUID]);
      expect(await found.call('ldmtool_diskgroup_name', { diskgroup: GROUP_GUID })).toBe(GROUP_NAME);
      const disks: string[] = await found.call('ldmtool_diskgroup_disks', { diskgroup: GROUP_GUID });
      expect(disks.sort()).toEqual(['Disk1', 'Disk2']);
      expect(await found.call('ldmtool_diskgroup_volumes', { diskgroup: GROUP_GUID })).toEqual([
        SIMPLE_VOLUME.name,
        SPANNED_VOLUME.name,
      ]);
      for (const [{ name, hint }, type] of [
        [SIMPLE_VOLUME, 'simple'],
        [SPANNED_VOLUME, 'spanned'],
      ] as const) {
        expect(await found.call('ldmtool_volume_type', { diskgroup: GROUP_GUID, volume: name })).toBe(type);
        expect(await found.call('ldmtool_volume_hint', { diskgroup: GROUP_GUID, volume: name })).toBe(hint);
      }
      seen[kind].set(
        'tables of the volumes',
        await linesInGuest(found, 'dmsetup table | sed "s/ 8:[0-9]* / disk /" | sort'),
      );
    });

    it.each([
      ['an MBR', 'mbr', [deviceOfVolume(SIMPLE_VOLUME)]],
      ['a GPT', 'gpt', []],
    ] as const)('sees the parts of them on the disk with %s alone', async (_what, table, volumes) => {
      const found = await launch(attached(`dynamic-${table}`));
      // A volume does not exist without all of its disks.
      expect(await found.call('list_ldm_volumes')).toEqual(volumes);
    });

    it('names three drives by their places and labels', async () => {
      const found = await launch([
        scratchDrive(3 * MEBIBYTE, { label: 'first' }),
        scratchDrive(MEBIBYTE),
        scratchDrive(2 * MEBIBYTE, { label: 'third', blocksize: 4096 }),
      ]);
      expect(await sizesOf(found, ['/dev/sda', '/dev/sdb', '/dev/sdc'])).toEqual([3, 1, 2]);
      const labels: Map<string, string> = await found.call('list_disk_labels');
      expect(Object.fromEntries(labels)).toEqual({ first: '/dev/sda', third: '/dev/sdc' });
      expect(await found.call('blockdev_getsize64', { device: '/dev/disk/guestfs/third' })).toBe(BigInt(2 * MEBIBYTE));
      expect(await found.call('blockdev_getss', { device: '/dev/sdc' })).toBe(4096);
      seen[kind].set('links to drives with labels', await linesInGuest(found, DISK_LINKS));
    });

    it.each([
      [1, 'sda'],
      [26, 'sdz'],
      [60, 'sdbh'],
    ])('has %i drives in order, up to %s', async (drives, last) => {
      const found = await launch(Array.from({ length: drives }, (_, index) => scratchDrive((index + 1) * MEBIBYTE)));
      const devices: string[] = await found.call('list_devices');
      expect(devices).toHaveLength(drives);
      expect(devices[0]).toBe('/dev/sda');
      expect(devices.at(-1)).toBe(`/dev/${last}`);
      expect(await sizesOf(found, devices)).toEqual(devices.map((_, index) => index + 1));
      // udev's database, for which actions wait.
      expect(await inGuest(found, 'ls /dev/disk/by-path | grep -c scsi')).toBe(String(drives));
    });

    it('accepts the names that other drivers give to drives', async () => {
      for (const [name, size] of [
        ['first', 8],
        ['second', 16],
      ] as const)
        emptyImage(image(`${kind}-${name}`), size);
      const session = await launchAs(kind, scene, attached(`${kind}-first`, `${kind}-second`));
      expect(await sizesOf(session, ['/dev/vda', '/dev/hdb', '/dev/xvda', '/dev/sdb'])).toEqual([8, 16, 8, 16]);
      await session.call('part_disk', { device: '/dev/vdb', parttype: 'gpt' });
      await session.call('mkfs', { fstype: 'ext2', device: '/dev/hdb1' });
      expect(await session.call('vfs_type', { mountable: '/dev/sdb1' })).toBe('ext2');
      expect(await session.call('list_partitions')).toEqual(['/dev/sdb1']);
      await scene.client.deleteSession(session.id);
    });

    it('has a network, and reports everything it does, if requested', async () => {
      if (session !== undefined) await scene.client.deleteSession(session.id);
      session = undefined;
      const host = createServer((socket) => socket.end('the host\n'));
      host.listen(0, '0.0.0.0');
      await once(host, 'listening');
      const outside = Object.values(networkInterfaces())
        .flatMap((addresses) => addresses ?? [])
        .find(({ family, internal }) => family === 'IPv4' && !internal);
      try {
        const found = await launchAs(kind, scene, [scratchDrive(MEBIBYTE)], { network: true, verbose: true });
        expect(await inGuest(found, 'ip -4 -o addr show scope global')).toMatch(/ inet 169\.254\.2\.15\/16 /);
        expect(await inGuest(found, 'ip -4 route')).toMatch(/^default via 169\.254\.2\.2 /m);
        seen[kind].set('resolv.conf', await inGuest(found, 'cat /etc/resolv.conf'));
        const { port } = host.address() as AddressInfo;
        const reading = (address: string): Promise<string> =>
          inGuest(found, `timeout 10 bash -c 'exec 3<>/dev/tcp/${address}/${port} && cat <&3' 2>&1 || echo failed`);
        if (outside !== undefined) expect(await reading(outside.address)).toBe('the host');
        // The router is not the host's loopback, where this server listens.
        expect(await reading('169.254.2.2')).toMatch(/failed$/);
        expect(await reading('127.0.0.1')).toMatch(/failed$/);
        const log = await scene.client.getLog(found.id);
        // The kernel, init and the daemon, also while they started.
        for (const words of ['Linux version', 'guestfsd --verbose --network', 'guestfsd: => debug'])
          expect(log).toContain(words);
      } finally {
        host.close();
      }
    });

    it('shares no names and no random numbers with another that is launched at the same time', async () => {
      const drive = (): DriveSpec[] => [scratchDrive(512 * MEBIBYTE)];
      const launched = await Promise.all([launchSession(scene.client, drive()), launchSession(scene.client, drive())]);
      const names = await Promise.all(
        launched.map(async (one) => {
          // The first that it does at all.
          const [random, ...rest] = await linesInGuest(
            one,
            'od -An -v -tx1 -N32 -w32 /dev/urandom; cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id /etc/machine-id; od -An -v -tx1 -N32 -w32 /dev/hwrng',
          );
          const uuids: string[] = [];
          for (const fstype of ['ext4', 'xfs', 'btrfs']) {
            await one.call('mkfs', { fstype, device: '/dev/sda' });
            uuids.push(await one.call('vfs_uuid', { mountable: '/dev/sda' }));
            await one.call('wipefs', { device: '/dev/sda' });
          }
          await one.call('pvcreate', { device: '/dev/sda' });
          uuids.push(await one.call('vfs_uuid', { mountable: '/dev/sda' }));
          return [random, ...rest, ...uuids];
        }),
      );
      expect(names.map((some) => some.length)).toEqual([9, 9]);
      for (const name of names.flat()) expect(name).toMatch(/^[0-9a-zA-Z ][-0-9a-zA-Z ]{30,}$/);
      expect(names.flat().filter((name, index, all) => all.indexOf(name) !== index)).toEqual([]);
      for (const one of launched) await scene.client.deleteSession(one.id);
    });

    it('has the time of the host', async () => {
      const found = await launch([scratchDrive(MEBIBYTE)]);
      const before = Date.now() / 1000;
      const time = Number(await inGuest(found, 'date +%s.%N'));
      const after = Date.now() / 1000;
      // A booted kernel takes its time from the real-time clock, which counts whole seconds: it is behind by
      // up to a second, and by the time that reading the clock takes on an emulated processor.
      expect(time).toBeGreaterThan(before - 2);
      expect(time).toBeLessThan(after + 1);
    });
  });

  it('is the same both ways', () => {
    expect(seen.cold.size).toBe(8);
    expect(Object.fromEntries(seen.template)).toEqual(Object.fromEntries(seen.cold));
  });
});

/** Fedora in its two layouts: on logical volumes, and on Btrfs with subvolumes. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { makeDirectories, mountAll, partition, writeTree, type ExpectedSystem, type Guest } from './guest.js';
import { makeRpmDatabase } from './rpm.js';
import type { SessionClient } from '../testClient.js';

/** The location of its package database. */
const DATABASE = '/usr/lib/sysimage/rpm';

const common = {
  type: 'linux',
  distro: 'fedora',
  productName: 'Fedora Linux 40 (Server Edition)',
  version: [40, 0],
  hostname: 'fedora.example.com',
  arch: 'x86_64',
  packageFormat: 'rpm',
  packageManagement: 'dnf',
  osinfo: 'fedora40',
  applications: [
    ['first', '1.2', '3'],
    ['second', '2.0', '1.fc40'],
  ],
} as const satisfies Partial<ExpectedSystem>;

async function writeSystem(session: SessionClient, fstab: string): Promise<void> {
  await makeDirectories(session, DATABASE);
  await writeTree(session, {
    '/bin': { link: 'usr/bin' },
    '/usr/bin/bash': tinyProgram(),
    '/usr/bin/dnf': '#!/usr/bin/python3\n',
    '/etc/fstab': fstab,
    '/etc/os-release': { link: '../usr/lib/os-release' },
    '/usr/lib/os-release':
      'NAME="Fedora Linux"\nVERSION="40 (Server Edition)"\nID=fedora\nVERSION_ID=40\nPRETTY_NAME="Fedora Linux 40 (Server Edition)"\nVARIANT="Server Edition"\n',
    '/etc/fedora-release': 'Fedora release 40 (Forty)\n',
    '/etc/redhat-release': { link: 'fedora-release' },
    '/etc/hostname': 'fedora.example.com\n',
    '/usr/lib/rpm/rpmrc': '',
    '/usr/lib/rpm/macros': `%_dbpath ${DATABASE}\n%_db_backend sqlite\n`,
  });
  const database = makeRpmDatabase([
    {
      name: 'second',
      epoch: 2,
      version: '2.0',
      release: '1.fc40',
      summary: 'The second',
      url: 'https://example.com/second',
    },
    { name: 'first', version: '1.2', release: '3', summary: 'The first', url: 'https://example.com/first' },
  ]);
  for (const [name, content] of database)
    await session.upload('upload', { remotefilename: `${DATABASE}/${name}` }, [content]);
}

const applicationDetails = {
  second: {
    app2_epoch: 2,
    app2_arch: 'noarch',
    app2_url: 'https://example.com/second',
    app2_summary: 'The second',
    app2_description: 'The second, at length.',
  },
};

/** /boot on a partition, the root and swap on logical volumes. */
export const fedoraLvm: Guest = {
  name: 'fedora-lvm',
  mebibytes: 224,
  applicationDetails,
  systems: [
    {
      ...common,
      root: '/dev/fedora/root',
      mountpoints: { '/': '/dev/fedora/root', '/boot': '/dev/sda1' },
      filesystems: ['/dev/fedora/root', '/dev/fedora/swap', '/dev/sda1'],
    },
  ],
  fill: async (session) => {
    await partition(session, 'gpt', [48]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda1' });
    await session.call('pvcreate', { device: '/dev/sda2' });
    await session.call('vgcreate', { volgroup: 'fedora', physvols: ['/dev/sda2'] });
    await session.call('lvcreate', { logvol: 'root', volgroup: 'fedora', mbytes: 128 });
    await session.call('lvcreate', { logvol: 'swap', volgroup: 'fedora', mbytes: 16 });
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/fedora/root' });
    await session.call('mkswap', { device: '/dev/fedora/swap' });
    await mountAll(session, { '/': '/dev/fedora/root', '/boot': '/dev/sda1' });
    const bootUuid: string = await session.call('vfs_uuid', { mountable: '/dev/sda1' });
    await writeSystem(
      session,
      `/dev/mapper/fedora-root / ext4 defaults 1 1\nUUID=${bootUuid} /boot ext4 defaults 1 2\n/dev/mapper/fedora-swap none swap defaults 0 0\n`,
    );
  },
};

/** /boot on a partition, / and /home on subvolumes of one Btrfs. */
export const fedoraBtrfs: Guest = {
  name: 'fedora-btrfs',
  mebibytes: 320,
  applicationDetails,
  systems: [
    {
      ...common,
      root: 'btrfsvol:/dev/sda2/root',
      mountpoints: { '/': 'btrfsvol:/dev/sda2/root', '/boot': '/dev/sda1', '/home': 'btrfsvol:/dev/sda2/home' },
      filesystems: ['/dev/sda1', 'btrfsvol:/dev/sda2/home', 'btrfsvol:/dev/sda2/root'],
    },
  ],
  fill: async (session) => {
    await partition(session, 'gpt', [48]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda1', label: 'boot' });
    await session.call('mkfs_btrfs', { devices: ['/dev/sda2'], label: 'fedora' });
    await session.call('mount', { mountable: '/dev/sda2', mountpoint: '/' });
    for (const dest of ['/root', '/home']) await session.call('btrfs_subvolume_create', { dest });
    await session.call('umount', { pathordevice: '/' });
    await mountAll(session, { '/': 'btrfsvol:/dev/sda2/root', '/boot': '/dev/sda1' });
    await makeDirectories(session, '/home');
    const uuid: string = await session.call('vfs_uuid', { mountable: '/dev/sda2' });
    await writeSystem(
      session,
      `UUID=${uuid} / btrfs subvol=root,compress=zstd:1 0 0\nLABEL=boot /boot ext4 defaults 1 2\nUUID=${uuid} /home btrfs subvol=home,compress=zstd:1 0 0\n`,
    );
  },
};

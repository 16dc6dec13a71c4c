/** Two systems on one disk, each on its own partition. */
import { alpineSystem, alpineTree } from './alpine.js';
import { mountAll, partition, writeTree, type Guest } from './guest.js';
import { dpkgStatus } from './dpkg.js';

export const twoSystems: Guest = {
  name: 'two-systems',
  mebibytes: 128,
  systems: [
    alpineSystem('/dev/sda1'),
    {
      root: '/dev/sda2',
      type: 'linux',
      distro: 'debian',
      productName: '11.10',
      version: [11, 10],
      hostname: 'second',
      arch: 'unknown',
      packageFormat: 'deb',
      packageManagement: 'apt',
      osinfo: 'debian11',
      mountpoints: { '/': '/dev/sda2' },
      filesystems: ['/dev/sda2'],
      applications: [['dash', '0.5.11', '5']],
    },
  ],
  fill: async (session) => {
    await partition(session, 'mbr', [64]);
    for (const device of ['/dev/sda1', '/dev/sda2']) await session.call('mkfs', { fstype: 'ext4', device });
    await mountAll(session, { '/': '/dev/sda1' });
    await writeTree(session, alpineTree);
    await session.call('umount', { pathordevice: '/' });
    await mountAll(session, { '/': '/dev/sda2' });
    await writeTree(session, {
      '/bin/sh': 'no program\n',
      '/etc/fstab': '/dev/sda2 / ext4 defaults 0 1\n',
      '/etc/debian_version': '11.10\n',
      '/etc/hostname': 'second\n',
      '/var/lib/dpkg/status': dpkgStatus([{ name: 'dash', version: '0.5.11-5' }]),
    });
  },
};

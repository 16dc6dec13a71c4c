/** A badly damaged system that can still be recognised. */
import { mountAll, partition, writeTree, type Guest } from './guest.js';

export const broken: Guest = {
  name: 'broken',
  mebibytes: 128,
  systems: [
    {
      root: '/dev/sda1',
      type: 'linux',
      distro: 'fedora',
      productName: 'Fedora release 14 (Laughlin)',
      version: [14, 0],
      hostname: 'unknown',
      arch: 'unknown',
      packageFormat: 'rpm',
      packageManagement: 'yum',
      osinfo: 'fedora14',
      // The daemon trusts the devices in fstab, whether they exist or not.
      mountpoints: { '/': '/dev/sda1', '/data': '/dev/sda9', '/file': '/dev/sda1' },
      filesystems: ['/dev/sda1', '/dev/sda1', '/dev/sda9'],
      applications: [],
    },
  ],
  fill: async (session) => {
    await partition(session, 'mbr', [64]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda1' });
    // Only the first blocks of the second one are left: it is recognised, but cannot be mounted.
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda2', label: 'lost' });
    await session.call('pwrite_device', { device: '/dev/sda2', content: Buffer.alloc(1 << 20, 0xff), offset: 4096n });
    await mountAll(session, { '/': '/dev/sda1' });
    await writeTree(session, {
      '/bin/sh': Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0xff]),
      '/file': 'no directory\n',
      '/etc/os-release': '',
      '/etc/redhat-release': 'Fedora release 14 (Laughlin)\n',
      '/etc/fstab':
        '/dev/sda1 / ext4 defaults 0 1\n/dev/sda9 /data ext4 defaults 0 2\n/dev/sda1 /file ext4 defaults 0 2\nUUID=nothing /nowhere ext4 defaults 0 0\n',
      '/etc/hostname': '# nobody\n',
      '/usr/lib/rpm/macros': '%_dbpath /var/lib/rpm\n%_db_backend sqlite\n',
      '/usr/lib/rpm/rpmrc': '',
      '/var/lib/rpm/rpmdb.sqlite': Buffer.alloc(8192, 'no database'),
    });
  },
};

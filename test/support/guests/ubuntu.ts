/** Ubuntu: a GPT with an EFI system partition, which fstab names by its UUID, and no volumes. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { dpkgStatus } from './dpkg.js';
import { mountAll, partition, writeTree, type Guest } from './guest.js';

export const ubuntu: Guest = {
  name: 'ubuntu',
  mebibytes: 192,
  systems: [
    {
      root: '/dev/sda2',
      type: 'linux',
      distro: 'ubuntu',
      productName: 'Ubuntu 24.04.1 LTS',
      version: [24, 4],
      hostname: 'ubuntu',
      arch: 'x86_64',
      packageFormat: 'deb',
      packageManagement: 'apt',
      osinfo: 'ubuntu24.04',
      mountpoints: { '/': '/dev/sda2', '/boot/efi': '/dev/sda1' },
      filesystems: ['/dev/sda1', '/dev/sda2'],
      applications: [
        ['coreutils', '9.4', '3ubuntu6'],
        ['ubuntu-minimal', '1.539', ''],
      ],
    },
  ],
  fill: async (session) => {
    await partition(session, 'gpt', [64]);
    await session.call('part_set_name', { device: '/dev/sda', partnum: 1, name: 'EFI System' });
    await session.call('mkfs', { fstype: 'vfat', device: '/dev/sda1' });
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda2', label: 'cloudimg-rootfs' });
    await mountAll(session, { '/': '/dev/sda2', '/boot/efi': '/dev/sda1' });
    await writeTree(session, {
      '/bin': { link: 'usr/bin' },
      '/usr/bin/sh': tinyProgram(),
      '/etc/fstab': `LABEL=cloudimg-rootfs / ext4 discard,errors=remount-ro 0 1\nUUID=${(await session.call('vfs_uuid', { mountable: '/dev/sda1' })) as string} /boot/efi vfat umask=0077 0 1\n/swap.img none swap sw 0 0\n`,
      '/etc/os-release':
        'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n',
      '/etc/lsb-release':
        'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\nDISTRIB_DESCRIPTION="Ubuntu 24.04.1 LTS"\n',
      '/etc/debian_version': 'trixie/sid\n',
      '/etc/hostname': 'ubuntu\n',
      '/var/lib/dpkg/status': dpkgStatus([
        { name: 'ubuntu-minimal', version: '1.539' },
        { name: 'coreutils', version: '9.4-3ubuntu6' },
      ]),
    });
  },
};

/** Arch Linux: one partition, and no version, since it is a rolling release. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { mountAll, partition, writeTree, type Guest } from './guest.js';

/** A package in pacman's local database. */
function description(name: string, version: string): string {
  return `%NAME%\n${name}\n\n%VERSION%\n${version}\n\n%BASE%\n${name}\n\n%DESC%\nA package\n\n%URL%\nhttps://example.com/${name}\n\n%ARCH%\nx86_64\n\n%BUILDDATE%\n1700000000\n\n%LICENSE%\nGPL\n\n`;
}

export const arch: Guest = {
  name: 'arch',
  mebibytes: 96,
  systems: [
    {
      root: '/dev/sda2',
      type: 'linux',
      distro: 'archlinux',
      productName: 'Arch Linux',
      version: [0, 0],
      hostname: 'arch.example.com',
      arch: 'x86_64',
      packageFormat: 'pacman',
      packageManagement: 'pacman',
      buildId: 'rolling',
      osinfo: 'archlinux',
      mountpoints: { '/': '/dev/sda2' },
      filesystems: ['/dev/sda1', '/dev/sda2'],
      applications: [
        ['filesystem', '2024.01.19', '1'],
        ['pacman', '6.1.0', '3'],
      ],
    },
  ],
  applicationDetails: {
    pacman: { app2_arch: 'x86_64', app2_url: 'https://example.com/pacman', app2_description: 'A package' },
  },
  fill: async (session) => {
    await partition(session, 'gpt', [8]);
    await session.call('mkswap', { device: '/dev/sda1', label: 'swap' });
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda2' });
    await mountAll(session, { '/': '/dev/sda2' });
    await writeTree(session, {
      '/bin': { link: 'usr/bin' },
      '/usr/bin/bash': tinyProgram(),
      '/etc/fstab': '/dev/sda2 / ext4 rw,relatime 0 1\nLABEL=swap none swap defaults 0 0\n',
      '/etc/arch-release': '',
      '/etc/os-release': 'NAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n',
      '/etc/hostname': '# set at installation\narch.example.com\n',
      '/var/lib/pacman/local/ALPM_DB_VERSION': '9\n',
      '/var/lib/pacman/local/pacman-6.1.0-3/desc': description('pacman', '6.1.0-3'),
      '/var/lib/pacman/local/filesystem-2024.01.19-1/desc': description('filesystem', '2024.01.19-1'),
    });
  },
};

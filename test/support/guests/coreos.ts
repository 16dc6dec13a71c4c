/** CoreOS: the system on one read-only partition, and the user's files on another. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { makeDirectories, mountAll, partition, writeTree, type Guest } from './guest.js';

export const coreos: Guest = {
  name: 'coreos',
  mebibytes: 128,
  systems: [
    {
      root: '/dev/sda3',
      type: 'linux',
      distro: 'coreos',
      productName: 'CoreOS 899.13.0',
      version: [899, 13],
      hostname: 'coreos.example.com',
      arch: 'x86_64',
      packageFormat: 'unknown',
      packageManagement: 'unknown',
      buildId: '2016-03-23-0120',
      osinfo: 'coreos899.13',
      mountpoints: { '/': '/dev/sda3', '/usr': '/dev/sda2' },
      filesystems: ['/dev/sda2', '/dev/sda3'],
      applications: [],
    },
  ],
  fill: async (session) => {
    await partition(session, 'gpt', [36, 32]);
    await session.call('mkfs', { fstype: 'vfat', device: '/dev/sda1' });
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda2', label: 'USR-A' });
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda3', label: 'ROOT' });
    await mountAll(session, { '/': '/dev/sda3', '/usr': '/dev/sda2' });
    await makeDirectories(session, '/root', '/home', '/usr/local', '/usr/share/coreos');
    await writeTree(session, {
      '/etc/coreos/update.conf': 'GROUP=stable\n',
      '/etc/hostname': 'coreos.example.com\n',
      '/etc/os-release': { link: '../usr/lib/os-release' },
      '/usr/bin/bash': tinyProgram(),
      '/usr/lib/os-release':
        'NAME=CoreOS\nID=coreos\nVERSION_ID=899.13.0\nBUILD_ID=2016-03-23-0120\nPRETTY_NAME="CoreOS 899.13.0"\n',
    });
  },
};

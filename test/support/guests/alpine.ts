/** Alpine Linux, on a drive without partitions. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { mountAll, writeTree, type ExpectedSystem, type Guest, type Tree } from './guest.js';

export const alpineTree: Tree = {
  '/bin/sh': tinyProgram(),
  '/etc/fstab': '/dev/root / ext4 rw,relatime 0 1\n',
  '/etc/alpine-release': '3.20.3\n',
  '/etc/os-release': 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME="Alpine Linux v3.20"\n',
  '/etc/hostname': 'alpine\n',
  '/lib/apk/db/installed':
    'C:Q1=\nP:musl\nV:1.2.5-r0\nA:x86_64\nT:the musl c library\nU:https://musl.libc.org/\no:musl\n\nC:Q1=\nP:busybox\nV:1.36.1-r29\nA:x86_64\nT:many tools in one\n\n',
};

/** What is expected of the tree on a device. */
export const alpineSystem = (root: string): ExpectedSystem => ({
  root,
  type: 'linux',
  distro: 'alpinelinux',
  productName: 'Alpine Linux v3.20',
  version: [3, 20],
  hostname: 'alpine',
  arch: 'x86_64',
  packageFormat: 'apk',
  packageManagement: 'apk',
  osinfo: 'alpinelinux3.20',
  mountpoints: { '/': root },
  filesystems: [root],
  applications: [
    ['busybox', '1.36.1', '29'],
    ['musl', '1.2.5', '0'],
  ],
});

export const alpine: Guest = {
  name: 'alpine',
  mebibytes: 64,
  systems: [alpineSystem('/dev/sda')],
  applicationDetails: {
    musl: { app2_arch: 'x86_64', app2_url: 'https://musl.libc.org/', app2_description: 'the musl c library' },
  },
  fill: async (session) => {
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await mountAll(session, { '/': '/dev/sda' });
    await writeTree(session, alpineTree);
  },
};

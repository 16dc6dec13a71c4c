/** Debian: /boot on a partition, the rest on logical volumes, with a separate /var; /bin is merged into /usr. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { dpkgStatus } from './dpkg.js';
import { mountAll, partition, writeTree, type Guest } from './guest.js';

const ROOT = '/dev/debian/root';
const VAR = '/dev/debian/var';

export const debian: Guest = {
  name: 'debian',
  mebibytes: 192,
  systems: [
    {
      root: ROOT,
      type: 'linux',
      distro: 'debian',
      // os-release has no minor version here, so debian_version is used, for the name as well.
      productName: '12.7',
      version: [12, 7],
      hostname: 'debian.example.com',
      arch: 'x86_64',
      packageFormat: 'deb',
      packageManagement: 'apt',
      osinfo: 'debian12',
      mountpoints: { '/': ROOT, '/boot': '/dev/sda1', '/var': VAR },
      filesystems: [ROOT, VAR, '/dev/sda1'],
      applications: [
        ['bash', '5.2.15', '2+b7'],
        ['libc6', '2.36', '9+deb12u8'],
        ['vim-tiny', '9.0.1378', '2'],
      ],
    },
  ],
  applicationDetails: {
    'vim-tiny': {
      app2_epoch: 2,
      app2_arch: 'amd64',
      app2_source_package: 'vim',
      app2_url: 'https://www.vim.org/',
      app2_summary: 'Vi IMproved',
    },
  },
  fill: async (session) => {
    await partition(session, 'mbr', [32]);
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda1', label: 'BOOT' });
    await session.call('pvcreate', { device: '/dev/sda2' });
    await session.call('vgcreate', { volgroup: 'debian', physvols: ['/dev/sda2'] });
    await session.call('lvcreate', { logvol: 'root', volgroup: 'debian', mbytes: 64 });
    await session.call('lvcreate', { logvol: 'var', volgroup: 'debian', mbytes: 48 });
    for (const device of [ROOT, VAR]) await session.call('mkfs', { fstype: 'ext4', device });
    await mountAll(session, { '/': ROOT, '/boot': '/dev/sda1', '/var': VAR });
    await writeTree(session, {
      '/boot/grub/grub.cfg': 'set default=0\n',
      '/bin': { link: 'usr/bin' },
      '/usr/bin/bash': tinyProgram(),
      '/etc/fstab': `LABEL=BOOT /boot ext2 defaults 0 2\n${ROOT} / ext4 errors=remount-ro 0 1\n${VAR} /var ext4 defaults 0 2\nproc /proc proc defaults 0 0\n/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n`,
      '/etc/debian_version': '12.7\n',
      '/etc/os-release': { link: '../usr/lib/os-release' },
      '/usr/lib/os-release':
        'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
      '/etc/hostname': 'debian.example.com\n',
      '/var/lib/dpkg/status': dpkgStatus([
        {
          name: 'vim-tiny',
          version: '2:9.0.1378-2',
          source: 'vim',
          homepage: 'https://www.vim.org/',
          description: 'Vi IMproved',
        },
        { name: 'removed', version: '1.0-1', status: 'deinstall ok config-files' },
        { name: 'libc6', version: '2.36-9+deb12u8', source: 'glibc' },
        { name: 'bash', version: '5.2.15-2+b7' },
      ]),
    });
  },
};

/** A system that is encrypted except for /boot: its volumes are on the encrypted device. */
import { alpineSystem, alpineTree } from './alpine.js';
import { mountAll, partition, writeTree, type Guest } from './guest.js';

const ROOT = '/dev/secret/root';

export const encryptedKey = { device: '/dev/sda2', key: 'correct horse' } as const;

/** The system is visible only with the key. */
export const encrypted: Guest = {
  name: 'encrypted',
  mebibytes: 160,
  systems: [
    { ...alpineSystem(ROOT), mountpoints: { '/': ROOT, '/boot': '/dev/sda1' }, filesystems: ['/dev/sda1', ROOT] },
  ],
  fill: async (session) => {
    await partition(session, 'gpt', [32]);
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda1', label: 'boot' });
    await session.call('luks_format', { ...encryptedKey, keyslot: 0 });
    await session.call('cryptsetup_open', { ...encryptedKey, mapname: 'inside' });
    await session.call('pvcreate', { device: '/dev/mapper/inside' });
    await session.call('vgcreate', { volgroup: 'secret', physvols: ['/dev/mapper/inside'] });
    await session.call('lvcreate', { logvol: 'root', volgroup: 'secret', mbytes: 64 });
    await session.call('mkfs', { fstype: 'ext4', device: ROOT });
    await mountAll(session, { '/': ROOT, '/boot': '/dev/sda1' });
    await writeTree(session, {
      ...alpineTree,
      '/boot/grub/grub.cfg': 'set default=0\n',
      '/etc/fstab': `${ROOT} / ext4 defaults 0 1\nLABEL=boot /boot ext2 defaults 0 2\n`,
    });
  },
};

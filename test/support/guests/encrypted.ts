/** A system of which all but /boot is encrypted: the root is a volume inside, and /home has a key of its own. */
import { alpineSystem, alpineTree } from './alpine.js';
import { mountAll, partition, writeTree, type Guest } from './guest.js';

const ROOT = '/dev/secret/root';

/** The keys, by device. */
export const encryptedKeys = [{ device: '/dev/sda2', key: 'first passphrase' }, { device: '/dev/sda3', key: 'second passphrase' }] as const;

/** Its systems can be seen only with the keys. */
export const encrypted: Guest = {
  name: 'encrypted',
  mebibytes: 256,
  systems: [{ ...alpineSystem(ROOT), mountpoints: { '/': ROOT, '/boot': '/dev/sda1' }, filesystems: ['/dev/sda1', ROOT] }],
  fill: async (session) => {
    await partition(session, 'gpt', [32, 128]);
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda1', label: 'boot' });
    for (const { device, key } of encryptedKeys) await session.call('luks_format', { device, key, keyslot: 0 });
    const [first, second] = encryptedKeys;
    await session.call('cryptsetup_open', { ...first, mapname: 'inside' });
    await session.call('pvcreate', { device: '/dev/mapper/inside' });
    await session.call('vgcreate', { volgroup: 'secret', physvols: ['/dev/mapper/inside'] });
    await session.call('lvcreate', { logvol: 'root', volgroup: 'secret', mbytes: 64 });
    await session.call('cryptsetup_open', { ...second, mapname: 'home' });
    for (const device of [ROOT, '/dev/mapper/home']) await session.call('mkfs', { fstype: 'ext4', device });
    await mountAll(session, { '/': ROOT, '/boot': '/dev/sda1' });
    const uuid: string = await session.call('luks_uuid', { device: second.device });
    await writeTree(session, {
      ...alpineTree,
      '/boot/grub/grub.cfg': 'set default=0\n',
      '/etc/fstab': `${ROOT} / ext4 defaults 0 1\nLABEL=boot /boot ext2 defaults 0 2\n/dev/mapper/luks-${uuid} /home ext4 defaults 0 2\n`,
    });
    await session.call('mkdir', { path: '/home' });
  },
};

/** Partition tables, LVM and file systems on two drives. */
import type { Random } from '../random.js';
import type { Call } from '../call.js';
import { CLEARED, make, sometimes, type Domain } from './domain.js';

const DISKS = ['/dev/sda', '/dev/sdb', '/dev/sdq', 'sda', '/etc/passwd'] as const;
const DEVICES = [
  '/dev/sda',
  '/dev/sda1',
  '/dev/sda2',
  '/dev/sdb',
  '/dev/vg/one',
  '/dev/vg/two',
  '/dev/sdq1',
  '/dev/nosuch',
  '',
] as const;
const GROUPS = ['vg', 'vg2', 'nosuch'] as const;
const VOLUMES = ['one', 'two'] as const;
const UUID = '11111111-2222-4333-8444-555555555555';

const disk = (random: Random): string =>
  random.chance(0.85) ? random.of('/dev/sda', '/dev/sdb') : random.of(...DISKS);
const device = (random: Random): string => random.of(...DEVICES);
const group = (random: Random): string => random.of(...GROUPS, 'vg', 'vg');

const make1 =
  (name: string, argument = 'device') =>
  (random: Random): Call =>
    make(name, { [argument]: device(random) });
const onDisk =
  (name: string) =>
  (random: Random): Call =>
    make(name, { device: disk(random) });
const onPartition =
  (name: string, more: (random: Random) => Call['args'] = () => ({})) =>
  (random: Random): Call =>
    make(name, { device: disk(random), partnum: random.of(1, 2, 5, 0, -1), ...more(random) });

/** The name of their device argument, if it is not `device`. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  part_to_dev: 'partition',
  part_to_partnum: 'partition',
  lvm_canonical_lv_name: 'lvname',
  vfs_minimum_size: 'mountable',
  is_lv: 'mountable',
};

const MAKING: readonly ((random: Random) => Call)[] = [
  (random) => make('part_init', { device: disk(random), parttype: random.of('mbr', 'gpt', 'gpt', 'nosuch') }),
  (random) => make('part_disk', { device: disk(random), parttype: random.of('mbr', 'gpt') }),
  (random) =>
    make('part_add', {
      device: disk(random),
      prlogex: random.of('p', 'primary', 'l', 'x'),
      startsect: random.of(64, 2048, 40000, -1),
      endsect: random.of(30000, 39999, 90000, -64, 99999999),
    }),
  make1('pvcreate'),
  (random) =>
    make('vgcreate', {
      volgroup: group(random),
      physvols: random.of(['/dev/sdb'], ['/dev/sda1'], ['/dev/sda2', '/dev/sdb'], ['/dev/sdq'], []),
    }),
  (random) =>
    make('lvcreate', {
      logvol: random.of(...VOLUMES),
      volgroup: group(random),
      mbytes: random.of(8, 16, 100000, 0, -1),
    }),
  (random) =>
    make('lvcreate_free', {
      logvol: random.of(...VOLUMES),
      volgroup: group(random),
      percent: random.of(50, 100, 0, 101),
    }),
  (random) =>
    make('mkfs', {
      fstype: random.of('ext2', 'ext4', 'vfat', 'nosuch', ''),
      device: device(random),
      ...sometimes(random, { blocksize: random.of(1024, 4096, 7, -1), label: random.of('label', 'x'.repeat(20)) }),
    }),
  (random) => make('mkswap', { device: device(random), ...sometimes(random, { label: 'swap', uuid: UUID }) }),
  (random) => make('mount', { mountable: device(random), mountpoint: random.of('/', '/', '/data', 'x') }),
];

const ASKING: readonly ((random: Random) => Call)[] = [
  ...[
    'list_devices',
    'list_partitions',
    'list_filesystems',
    'lvs',
    'vgs',
    'pvs',
    'mounts',
    'mountpoints',
    'umount_all',
    'list_md_devices',
    'list_dm_devices',
    'nr_devices',
    'vgscan',
    'list_disk_labels',
  ].map((name) => () => make(name)),
  ...[
    'part_get_parttype',
    'part_list',
    'blockdev_getsize64',
    'blockdev_getss',
    'blockdev_getsz',
    'blockdev_getro',
    'blockdev_rereadpt',
  ].map(onDisk),
  ...['vfs_type', 'vfs_label'].map((name) => make1(name, 'mountable')),
  ...[
    'is_lv',
    'is_whole_device',
    'canonical_device_name',
    'device_index',
    'part_to_dev',
    'part_to_partnum',
    'swapon_device',
    'swapoff_device',
    'lvremove',
    'pvremove',
    'pvresize',
    'wipefs',
    'e2fsck_f',
    'resize2fs',
    'get_e2label',
    'lvm_canonical_lv_name',
    'vfs_minimum_size',
  ].map((name) => make1(name, OTHER_NAMES[name])),
  ...[
    'part_del',
    'part_get_bootable',
    'part_get_mbr_id',
    'part_get_name',
    'part_get_gpt_type',
    'part_get_mbr_part_type',
    'part_get_gpt_attributes',
  ].map((name) => onPartition(name)),
  onPartition('part_set_bootable', (random) => ({ bootable: random.chance(0.5) })),
  onPartition('part_set_name', (random) => ({ name: random.of('data', 'ünï', '') })),
  onPartition('part_set_mbr_id', (random) => ({ idbyte: random.of(0x7f, 0x82, 0x100, -1) })),
  onPartition('part_set_gpt_type', (random) => ({
    guid: random.of('C12A7328-F81F-11D2-BA4B-00A0C93EC93B', 'nonsense'),
  })),
  onPartition('part_set_gpt_guid', (random) => ({ guid: random.of(UUID, 'nonsense', '') })),
  (random) => make('lvresize', { device: device(random), mbytes: random.of(8, 24, 100000, 0) }),
  (random) =>
    make('lvrename', {
      logvol: random.of('/dev/vg/one', '/dev/vg/two', '/dev/vg2/one'),
      newlogvol: random.of('/dev/vg/two', '/dev/vg/one', 'x'),
    }),
  (random) => make('vgrename', { volgroup: group(random), newvolgroup: group(random) }),
  (random) => make('vgremove', { vgname: group(random) }),
  (random) => make('vg_activate', { activate: random.chance(0.6), volgroups: random.of([], ['vg'], ['nosuch']) }),
  (random) => make('set_label', { mountable: device(random), label: random.of('new', 'x'.repeat(20)) }),
  (random) => make('set_uuid', { device: device(random), uuid: random.of(UUID, 'nonsense') }),
  (random) =>
    make('umount', {
      pathordevice: random.chance(0.5) ? '/' : device(random),
      ...sometimes(random, { lazyunmount: true }),
    }),
  (random) => make('e2fsck', { device: device(random), ...sometimes(random, { correct: true, forceall: true }) }),
  (random) => make('write', { path: '/file', content: random.of('x', 'yy') }),
];

export const disks: Domain = {
  name: 'disks',
  beginning: CLEARED,
  call: (random) => (random.chance(0.5) ? random.of(...MAKING) : random.of(...ASKING))(random),
};

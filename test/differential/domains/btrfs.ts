/** Subvolumes and snapshots of a Btrfs file system. */
import type { Random } from '../random.js';
import type { Call } from '../call.js';
import { CLEARED, make, sometimes, type Domain } from './domain.js';

const PATHS = ['/', '/one', '/two', '/one/inner', '/dir', '/dir/three', '/nosuch/x', 'relative'] as const;
const path = (random: Random): string => random.of(...PATHS);

const CALLS: readonly ((random: Random) => Call)[] = [
  (random) => make('btrfs_subvolume_create', { dest: path(random) }),
  (random) => make('btrfs_subvolume_create', { dest: path(random) }),
  (random) =>
    make('btrfs_subvolume_snapshot', { source: path(random), dest: path(random), ...sometimes(random, { ro: true }) }),
  (random) => make('btrfs_subvolume_delete', { subvolume: path(random) }),
  (random) => make('btrfs_subvolume_list', { fs: random.of('/', '/dev/sda', '/nosuch') }),
  (random) => make('btrfs_subvolume_set_default', { id: random.of(5, 256, 257, 999), fs: path(random) }),
  (random) => make('btrfs_subvolume_get_default', { fs: random.of('/', '/dev/sda', '/nosuch') }),
  (random) => make('btrfs_filesystem_sync', { fs: path(random) }),
  (random) => make('btrfs_filesystem_defragment', { path: path(random) }),
  (random) => make('btrfs_filesystem_resize', { mountpoint: path(random), ...sometimes(random, { size: 150 << 20 }) }),
  (random) => make('mkdir', { path: path(random) }),
  (random) => make('write', { path: `${path(random)}/file`, content: random.of('x', 'yy') }),
  (random) => make('cat', { path: `${path(random)}/file` }),
  () => make('find', { directory: '/' }),
  (random) => make('rm_rf', { path: random.of('/dir', '/two', '/one/inner') }),
  () => make('list_filesystems'),
  (random) =>
    make('mountable_device', { mountable: random.of('/dev/sda', 'btrfsvol:/dev/sda/one', 'btrfsvol:', 'nonsense') }),
  (random) => make('mountable_subvolume', { mountable: random.of('/dev/sda', 'btrfsvol:/dev/sda/one', 'nonsense') }),
  (random) =>
    make('vfs_type', { mountable: random.of('/dev/sda', 'btrfsvol:/dev/sda/one', 'btrfsvol:/dev/sda/nosuch') }),
  (random) => make('setxattr', { xattr: 'user.x', val: 'v', vallen: 1, path: path(random) }),
  (random) => make('getxattrs', { path: path(random) }),
  (random) => make('lstat', { path: path(random) }),
];

export const btrfs: Domain = {
  name: 'btrfs',
  beginning: [
    ...CLEARED,
    make('mkfs_btrfs', { devices: ['/dev/sda'] }),
    make('mount', { mountable: '/dev/sda', mountpoint: '/' }),
  ],
  call: (random) => random.of(...CALLS)(random),
};

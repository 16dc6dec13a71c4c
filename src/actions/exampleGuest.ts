/**
 * The guest for the examples in the reference: `/dev/sda1` is mounted on `/`, `/dev/sdb` may be overwritten, and
 * everything else that an action needs exists. test/integration/examples.test.ts sends every example to such a guest. A
 * record specifies only those arguments of its example for which the defaults below are unsuitable.
 */
import type { ExampleArguments } from './types.js';

/** A file that may be overwritten, and one to create. */
export const FILE = '/tmp/file';
export const NEW = '/tmp/new';

export const DISK = '/dev/sdb';
export const PARTITION = '/dev/sdb1';
/** Where a Btrfs, or another file system on the second disk, is mounted. */
export const DATA = '/data';
export const LOG = '/var/log/syslog.1.gz';
export const PASSWORDS = '/etc/passwd';
export const MODE_0644 = 420;
export const MIB_64 = '67108864';
export const GIB = '1073741824';

/** By the argument's name, where its meaning is the same in every action. */
export const VALUES_BY_NAME: ExampleArguments = {
  acltype: 'access',
  augpath: '/files/etc/hosts/1',
  c: 0,
  csumtype: 'sha256',
  ctype: 'gzip',
  cyls: 0,
  devmajor: 8,
  devminor: 1,
  fstype: 'ext4',
  groups: ['lvm2', 'ntfs3g'],
  heads: 0,
  index: 0,
  keyslot: 0,
  label: 'data',
  len: 1048576,
  logvol: 'root',
  mapname: 'opened',
  name: 'data',
  names: ['hostname', 'hosts'],
  newkey: 'another secret',
  offset: '0',
  partnum: 1,
  pattern: 'root',
  percent: 50,
  regex: '^root:',
  sectors: 0,
  specfile: '/etc/selinux/targeted/contexts/files/file_contexts',
  target: '/etc/hosts',
  tmpl: '/tmp/XXXXXX',
  uuid: '7d2c3a64-90f3-4f0d-a7b8-5d0f2f1f6a3e',
  vg: 'group',
  vgname: 'group',
  volgroup: 'group',
  volgroups: ['group'],
  xattr: 'user.comment',
};

/** By the kind of a string. */
export const VALUES_BY_KIND: Readonly<Record<string, string>> = {
  pathname: '/etc/hostname',
  dev_or_path: '/etc/hostname',
  key: 'secret',
  guid: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
};

/** By name and kind: directories of the guest. */
export const DIRECTORIES: Readonly<Record<string, string>> = {
  dir: '/etc',
  directory: '/etc',
  remotedir: '/srv',
  mountpoint: '/',
  root: '/',
  linkname: '/tmp/link',
};

/** The bytes of `hello`, in base64. */
export const BYTES = 'aGVsbG8=';

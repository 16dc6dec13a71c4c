/** Values for the arguments of any action: valid, invalid and outlandish ones. */
import type { ActionDef, ArgumentDef, OptionalArgumentDef } from '../../../src/actions/types.js';
import type { Argument } from '../call.js';
import type { Random } from '../random.js';

const UUID = '11111111-2222-4333-8444-555555555555';

const PATHS = [
  '/',
  '/file',
  '/file',
  '/text',
  '/dir',
  '/dir',
  '/dir/sub',
  '/dir/new',
  '/new',
  '/link',
  '/archive.tar',
  '/image',
  '/hive',
  '/swap',
  '/nosuch',
  '/nosuch/x',
  'relative',
  '',
  '/dir/../text',
  '/with space',
] as const;
const DISKS = ['/dev/sda', '/dev/sdb'] as const;
const DEVICES = [
  '/dev/sda1',
  '/dev/sda2',
  '/dev/sda3',
  '/dev/sdb',
  '/dev/vg/one',
  '/dev/mapper/vg-one',
  '/dev/sdz',
  '/dev/hda1',
  '/dev/nosuch',
  'sda1',
  '/file',
  '',
  '/dev/',
  '/dev/../dev/sda1',
  '/dev/sda9',
] as const;
const MOUNTABLES = [
  ...DEVICES,
  '/dev/vg/one',
  '/dev/vg/one',
  'btrfsvol:/dev/sdb/sub',
  'btrfsvol:/dev/sdb/nosuch',
  'btrfsvol:',
  'btrfsvol:/dev/sdz/x',
  '/',
] as const;

/** By the kind of a string. */
const BY_KIND: Readonly<Record<string, readonly string[]>> = {
  pathname: PATHS,
  filename: ['file', 'text', 'nosuch', 'a/b', '', '..'],
  device: [...DISKS, ...DEVICES],
  mountable: MOUNTABLES,
  dev_or_path: [...PATHS, ...DISKS, ...DEVICES],
  mountable_or_path: [...PATHS, ...MOUNTABLES],
  key: ['secret', 'other', ''],
  guid: [UUID, `{${UUID}}`, 'nonsense', '', `{${UUID}`, 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'],
  plain: ['', 'x', 'nosuch', '/', '-x'],
};

/** By the argument's name, where that is more specific than its kind. */
const BY_NAME: Readonly<Record<string, readonly Argument[]>> = {
  acl: ['u::rwx,g::r-x,o::r-x', 'nonsense'],
  acltype: ['access', 'default', 'nosuch'],
  arguments: [['/bin/true'], ['/nosuch'], []],
  attrs: ['i', 'A', '?', ''],
  augpath: ['/files/etc/hosts', '/files/etc/hosts/*', '/files/nosuch', '/augeas', '/[', ''],
  base: ['/files/etc/hosts/*', '/files', '/['],
  c: [0, 65, 255, 256, -1],
  cap: ['cap_net_raw+ep', 'nonsense', ''],
  cipher: ['aes-xts-plain64', 'nosuch'],
  command: ['true', 'exit 3', ''],
  compat: ['1.1', '0.10', 'nosuch'],
  compress: ['gzip', 'nosuch'],
  context: ['system_u:object_r:tmp_t:s0', ''],
  csumtype: ['crc', 'md5', 'sha256', 'gost', 'nosuch'],
  ctype: ['gzip', 'compress', 'nosuch'],
  encoding: ['s', 'S', 'l', 'x', ''],
  expr: ['/files/etc/hosts', '1 = 1', '/[', ''],
  exemptpath: ['/mp', '/nosuch/mp', '/', 'relative'],
  filesystem: ['ext4', 'btrfs', 'nosuch', ''],
  format: ['newc', 'crc', 'nosuch'],
  fstype: ['ext2', 'ext4', 'vfat', 'nosuch', ''],
  groups: [['lvm2'], ['lvm2', 'ntfs3g'], ['nosuch'], [], ['']],
  idbyte: [0x82, 0, 255, 256, -1],
  inode: [2, 11, 12, 0, -1, 999999],
  keyslot: [0, 1, 7, 8, 99, -1],
  label: ['label', 'x'.repeat(40), ''],
  lens: ['Hosts.lns', 'Nosuch.lns', ''],
  lines: [[','], ['nonsense'], []],
  logvol: ['one', 'two', '/dev/vg/one', ''],
  mapname: ['opened', 'vg-one', ''],
  mask: [0o22, 0o777, 0o1000, -1],
  mbytes: [8, 16, 0, -1, 100000],
  meth: ['gzip', 'bzip2', 'nosuch'],
  mode: [0o644, 0o1777, 0, 0o10000, -1],
  modulename: ['ext4', 'nosuch', ''],
  mountpoint: ['/', '/dir', '/nosuch', 'relative', ''],
  names: [['file', 'text'], ['nosuch'], ['file', 'nosuch'], [], ['a/b'], ['']],
  newlogvol: ['two', '/dev/vg/two', ''],
  newvolgroup: ['vg2', 'vg', ''],
  nodeh: [0, 4128, 32, -1, 99999999],
  valueh: [0, 4128, -1, 99999999],
  parent: [0, 4128, -1],
  nr: [0, 3, -1],
  options: ['', 'ro', 'noatime', 'nonsense,x'],
  owner: [0, 1000, -1],
  parttype: ['mbr', 'gpt', 'msdos', 'nosuch', ''],
  partnum: [1, 1, 2, 3, 9, 0, -1],
  pattern: ['ab', '/*', '/dir/*', '[', ''],
  physvols: [['/dev/sdb'], ['/dev/sda2'], ['/dev/sdz'], ['x'], []],
  prlogex: ['p', 'primary', 'l', 'x'],
  qgroupid: ['0/5', '1/100', 'nonsense', ''],
  regex: ['o', '^root', '[', ''],
  remote: ['/nosuch', ''],
  size: [0, 4096, 1 << 20, -1],
  specfile: ['/etc/nosuch', ''],
  target: ['/file', '/new', 'relative', ''],
  tmpl: ['/tmpXXXXXX', '/dir/tXXXXXX', '/nosuch/XXXXXX', '/noxes', 'relXXXXXX'],
  uuid: [UUID, 'nonsense', ''],
  val: ['value', ''],
  vallen: [0, 1, 5],
  vfstype: ['ext4', 'vfat', 'nosuch', ''],
  vg: ['vg', 'nosuch', ''],
  vgname: ['vg', 'nosuch', ''],
  volgroup: ['vg', 'nosuch', ''],
  volgroups: [['vg'], ['nosuch'], []],
  xattr: ['user.comment', 'trusted.x', 'nonsense', ''],
};

/** Numbers of unknown meaning. */
const NUMBERS = [0, 1, 2, 5, 100, 4096, -1] as const;

type AnyArgument = ArgumentDef | OptionalArgumentDef;

/** The library's release. */
const LIBRARY = { major: 1, minor: 48 };

/** Whether something that was added in a version is in that release. */
export function isOld(since: string): boolean {
  const [major = 0, minor = 0] = since.split('.').map(Number);
  return major < LIBRARY.major || (major === LIBRARY.major && minor <= LIBRARY.minor);
}

function fits({ type }: AnyArgument, value: Argument): boolean {
  if (type === 'int' || type === 'int64') return typeof value === 'number';
  return type === 'string_list' ? Array.isArray(value) : typeof value === 'string';
}

/** One value of an argument. */
export function valueFor(random: Random, argument: AnyArgument): Argument {
  if (argument.type === 'bool') return random.chance(0.5);
  const named = (BY_NAME[argument.name] ?? []).filter((one) => fits(argument, one));
  if (named.length > 0) return random.of(...named);
  if (argument.type === 'int' || argument.type === 'int64') return random.of(...NUMBERS);
  const texts = BY_KIND['kind' in argument ? argument.kind : 'plain'] ?? [''];
  return argument.type === 'string_list'
    ? Array.from({ length: random.integer(0, 2) }, () => random.of(...texts))
    : random.of(...texts);
}

/** The optional arguments of an action, each set one time in three. */
export function optionsFor(random: Random, action: ActionDef): Record<string, Argument> {
  return Object.fromEntries(
    action.optargs
      .filter(({ since }) => since === undefined || isOld(since))
      .filter(() => random.chance(0.33))
      .map((argument) => [argument.name, valueFor(random, argument)]),
  );
}

/** Values for the examples of the reference: such as one would give. */
import { fieldArguments } from './shape.js';
import type { ActionDef, ArgumentDef } from '../actions/types.js';

/** By the argument's name, where that says more than its type. */
const BY_NAME: Readonly<Record<string, unknown>> = {
  acltype: 'access',
  acl: 'u::rw-,g::r--,o::r--',
  arguments: ['/bin/uname', '-a'],
  atsecs: '1700000000',
  augpath: '/files/etc/hostname/hostname',
  blocksize: 4096,
  cap: 'cap_net_raw+ep',
  cipher: 'aes-xts-plain64',
  command: 'uname -a',
  content: 'aGVsbG8=',
  csumtype: 'sha256',
  ctype: 'gzip',
  diskgroup: 'Dynamic-Dg0',
  dom: 'guest',
  encoding: 'UTF-8',
  expr: '/files/etc/hosts/*[ipaddr = "127.0.0.1"]/canonical',
  filename: 'disk.img',
  format: 'qcow2',
  fstype: 'ext4',
  groups: ['lvm2', 'ntfs3g'],
  guid: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
  identifier: 'backup',
  inode: '12',
  lines: ['one', 'two'],
  logvol: 'root',
  lvname: '/dev/mapper/group-root',
  mapname: 'opened',
  mbytes: 100,
  memsize: 1280,
  mode: 493, // 0755
  mountpoint: '/',
  mtsecs: '1700000000',
  names: ['hosts', 'fstab'],
  newlogvol: 'home',
  newvolgroup: 'data',
  options: 'ro,noatime',
  parttype: 'gpt',
  pattern: 'root',
  regex: '^root:',
  size: '1073741824',
  subcmd: 'help',
  target: '/etc/hostname',
  uuid: '7d2c3a64-90f3-4f0d-a7b8-5d0f2f1f6a3e',
  vfstype: 'ext4',
  vg: 'group',
  vgname: 'group',
  volgroup: 'group',
  volgroups: ['group'],
  volume: 'Volume1',
  xattr: 'user.comment',
};

/** By what a string stands for. */
const BY_KIND: Readonly<Record<string, string>> = {
  pathname: '/etc/hostname', filename: 'hosts', device: '/dev/sda1', mountable: '/dev/sda1', dev_or_path: '/dev/sda1', mountable_or_path: '/', key: 'secret',
};

/** What paths name. */
const PATHS: readonly { readonly name: RegExp; readonly value: string }[] = [
  { name: /^(dir|directory|remotedir)$/, value: '/etc' },
  { name: /^(mountpoint|root|fs|mntpoint)$/, value: '/' },
  { name: /^subvolume$/, value: '/home' },
  { name: /^(dest|newpath|linkname)$/, value: '/tmp/copy' },
  { name: /^tmpl$/, value: '/tmp/XXXXXX' },
];

function exampleOf(argument: ArgumentDef): unknown {
  const kind = 'kind' in argument ? argument.kind : 'plain';
  const path = kind === 'pathname' ? PATHS.find(({ name }) => name.test(argument.name)) : undefined;
  if (path !== undefined && argument.type === 'string') return path.value;
  const named = kind === 'plain' || kind === 'guid' || argument.name === 'names' ? BY_NAME[argument.name] : undefined;
  switch (argument.type) {
    case 'string': case 'opt_string': case 'pointer': return typeof named === 'string' ? named : (BY_KIND[kind] ?? 'example');
    case 'string_list': return Array.isArray(named) ? named : [BY_KIND[kind] ?? 'example'];
    case 'buffer': return 'aGVsbG8='; // bytes are base64 in JSON
    case 'bool': return true;
    case 'int': return typeof named === 'number' ? named : 1;
    case 'int64': return typeof named === 'string' && /^\d+$/.test(named) ? named : '1'; // 64 bits are a string in JSON
  }
}

/** The required arguments of an action in protobuf's JSON. */
export function exampleRequest(action: ActionDef): Readonly<Record<string, unknown>> {
  return Object.fromEntries(fieldArguments(action).filter(({ type }) => type !== 'opt_string').map((argument) => [argument.name, exampleOf(argument)]));
}

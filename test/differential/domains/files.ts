/** Files and directories on an ext4 file system. */
import type { Random } from '../random.js';
import type { Call } from '../call.js';
import { CLEARED, make, sometimes, type Domain } from './domain.js';

const PATHS = [
  '/',
  '/a',
  '/b',
  '/dir',
  '/dir/a',
  '/dir/b',
  '/dir/sub',
  '/dir/sub/deep',
  '/other',
  '/other/x',
  '/ünï',
  '/with space',
  '/-dash',
  '/*star*',
  '/link',
  '/dangling',
  '/loop',
  '/lost+found',
  '/nosuch/x',
  '/a/under',
  'relative',
  '',
  '/dir/../a',
  '//dir//a',
  `/${'n'.repeat(255)}`,
  `/${'n'.repeat(256)}`,
] as const;
const CONTENTS = [
  '',
  'hello\n',
  'one\ntwo\nthree\n',
  'no newline',
  'a\tb  c\n\n\n',
  'ünï 日本\n',
  'x'.repeat(5000),
  'root:x:0:0\nuser:x:1000\n',
  '#!/bin/sh\nexit 0\n',
  'A\0B',
] as const;
const XATTRS = ['user.comment', 'user.other', 'trusted.x', 'security.y', 'nonsense', ''] as const;
const CHECKSUMS = ['crc', 'md5', 'sha1', 'sha256', 'sha512', 'gost', 'nosuch'] as const;

const path = (random: Random): string => random.of(...PATHS);
const text = (random: Random): string => random.of(...CONTENTS);

const make1 =
  (name: string, argument = 'path') =>
  (random: Random): Call =>
    make(name, { [argument]: path(random) });
const make2 =
  (name: string, one: string, other: string) =>
  (random: Random): Call =>
    make(name, { [one]: path(random), [other]: path(random) });

/** Those that create something are listed twice: without them the others have nothing to work on. */
const MAKING: readonly ((random: Random) => Call)[] = [
  make1('mkdir'),
  make1('mkdir_p'),
  make1('touch'),
  (random) => make('write', { path: path(random), content: text(random) }),
  (random) => make('write_append', { path: path(random), content: text(random) }),
  (random) => make('mkdir_mode', { path: path(random), mode: random.of(0o700, 0o1777, -1) }),
  make2('ln', 'target', 'linkname'),
  make2('ln_f', 'target', 'linkname'),
  make2('ln_s', 'target', 'linkname'),
  make2('ln_sf', 'target', 'linkname'),
  make2('cp', 'src', 'dest'),
  make2('cp_a', 'src', 'dest'),
  make2('cp_r', 'src', 'dest'),
  make2('mv', 'src', 'dest'),
  make2('rename', 'oldpath', 'newpath'),
  (random) =>
    make('setxattr', {
      xattr: random.of(...XATTRS),
      val: random.of('v', 'value', ''),
      vallen: random.of(0, 1, 5),
      path: path(random),
    }),
  (random) => make('truncate_size', { path: path(random), size: random.of(0, 1, 4096, 100000, -1) }),
  (random) => make('upload', { remotefilename: path(random) }, Buffer.from(text(random))),
  (random) => make('fill', { c: random.of(0, 65, 255, 256, -1), len: random.of(0, 10, 3000, -1), path: path(random) }),
  (random) =>
    make('fill_pattern', { pattern: random.of('ab', 'x', ''), len: random.of(0, 7, 1000, -1), path: path(random) }),
];

const ASKING: readonly ((random: Random) => Call)[] = [
  ...[
    'stat',
    'lstat',
    'statns',
    'lstatns',
    'exists',
    'is_file',
    'is_dir',
    'is_symlink',
    'is_fifo',
    'is_blockdev',
    'is_chardev',
    'is_socket',
    'readlink',
    'realpath',
    'case_sensitive_path',
    'cat',
    'read_file',
    'read_lines',
    'head',
    'tail',
    'wc_l',
    'wc_w',
    'wc_c',
    'file',
    'hexdump',
    'strings',
    'getxattrs',
    'lgetxattrs',
    'is_zero',
    'truncate',
    'rm',
    'rm_f',
    'rm_rf',
    'rmdir',
  ].map((name) => make1(name)),
  make1('get_e2attrs', 'file'),
  make1('filesize', 'file'),
  ...['ls', 'find'].map((name) => make1(name, 'directory')),
  make2('equal', 'file1', 'file2'),
  (random) => make('checksum', { csumtype: random.of(...CHECKSUMS), path: path(random) }),
  (random) => make('head_n', { nrlines: random.of(0, 1, 2, 100, -1), path: path(random) }),
  (random) => make('tail_n', { nrlines: random.of(0, 1, 2, 100, -1), path: path(random) }),
  (random) =>
    make('grep', {
      regex: random.of('o', '^root', '[', 'ü', ''),
      path: path(random),
      ...sometimes(random, { extended: true, fixed: true, insensitive: true }),
    }),
  (random) =>
    make('pread', { path: path(random), count: random.of(0, 1, 10, 5000, -1), offset: random.of(0, 1, 4999, -1) }),
  (random) => make('pwrite', { path: path(random), content: text(random), offset: random.of(0, 3, 9000, -1) }),
  (random) => make('download', { remotefilename: path(random) }),
  (random) => make('base64_out', { filename: path(random) }),
  (random) => make('base64_in', { filename: path(random) }, Buffer.from(random.of('aGVsbG8=\n', 'no base64!', ''))),
  (random) => make('ls0', { dir: path(random) }),
  (random) => make('chmod', { mode: random.of(0o644, 0o4755, 0, -1, 0o10000), path: path(random) }),
  (random) => make('chown', { owner: random.of(0, 1000, -1), group: random.of(0, 5), path: path(random) }),
  (random) => make('lchown', { owner: random.of(0, 1000), group: random.of(0, 5), path: path(random) }),
  (random) => make('umask', { mask: random.of(0, 0o22, 0o77, -1, 0o1000) }),
  () => make('get_umask'),
  (random) => make('mknod', { mode: random.of(0o100644, 0o20644, -1), devmajor: 1, devminor: 3, path: path(random) }),
  // In a place where it is never opened, which would block forever.
  (random) =>
    make('mkfifo', { mode: random.of(0o644, -1), path: random.of('/fifo', '/dir/fifo', '/nosuch/fifo', 'fifo') }),
  (random) => make('is_fifo', { path: random.of('/fifo', '/dir/fifo') }),
  (random) => make('lstatns', { path: random.of('/fifo', '/dir/fifo') }),
  (random) => make('mknod_c', { mode: 0o600, devmajor: 1, devminor: 3, path: path(random) }),
  (random) => make('getxattr', { path: path(random), name: random.of(...XATTRS) }),
  (random) => make('removexattr', { xattr: random.of(...XATTRS), path: path(random) }),
  (random) => make('lremovexattr', { xattr: random.of(...XATTRS), path: path(random) }),
  (random) => make('lstatnslist', { path: path(random), names: random.of([], ['a', 'b'], ['nosuch'], ['a/b']) }),
  (random) => make('readlinklist', { path: path(random), names: random.of([], ['link', 'a'], ['dangling']) }),
  (random) =>
    make('utimens', {
      path: path(random),
      atsecs: random.of(0, 1000000, -1),
      atnsecs: random.of(0, -1, -2),
      mtsecs: 5,
      mtnsecs: random.of(0, -2),
    }),
  (random) =>
    make('set_e2attrs', {
      file: path(random),
      attrs: random.of('i', 'a', 'A', '1', ''),
      ...sometimes(random, { clear: true }),
    }),
  (random) =>
    make('glob_expand', {
      pattern: random.of('/*', '/dir/*', '/d*', '/nosuch*', 'x*', '/[', '/*/a'),
      ...sometimes(random, { directoryslash: false }),
    }),
  (random) =>
    make('copy_file_to_file', {
      src: path(random),
      dest: path(random),
      ...sometimes(random, { srcoffset: 1, destoffset: 2, size: 3, sparse: true, append: true }),
    }),
  (random) => make('fallocate64', { path: path(random), len: random.of(0, 1, 8192, -1) }),
  (random) => make('copy_size', { src: path(random), dest: path(random), size: random.of(0, 2, 100000, -1) }),
  (random) => make('compress_out', { file: path(random), ctype: random.of('nosuch', '') }),
  () => make('mountpoints'),
  (random) => make('acl_get_file', { path: path(random), acltype: random.of('access', 'default', 'nosuch') }),
  (random) =>
    make('acl_set_file', {
      path: path(random),
      acltype: random.of('access', 'default'),
      acl: random.of('u::rwx,g::r-x,o::r-x', 'nonsense'),
    }),
  (random) => make('fill_dir', { dir: path(random), nr: random.of(0, 2, -1) }),
];

export const files: Domain = {
  name: 'files',
  beginning: [
    ...CLEARED,
    make('mkfs', { fstype: 'ext4', device: '/dev/sda' }),
    make('mount', { mountable: '/dev/sda', mountpoint: '/' }),
  ],
  call: (random) => (random.chance(0.45) ? random.of(...MAKING) : random.of(...ASKING))(random),
};

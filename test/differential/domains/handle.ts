/** A handle before its launch: settings, drives, and disk images of the host. */
import type { Argument, Call } from '../call.js';
import type { Random } from '../random.js';
import { HOST_DIRECTORY } from '../call.js';
import { make, sometimes, type Domain } from './domain.js';

const IMAGES = [
  'raw.img',
  'raw.img',
  'disk.qcow2',
  'overlay.qcow2',
  'new.img',
  'new.qcow2',
  'nosuch.img',
  'directory',
  'odd:name.img',
].map((name) => `${HOST_DIRECTORY}/${name}`);
const image = (random: Random): string => random.of(...IMAGES);
const FORMATS = ['raw', 'qcow2', 'nosuch', '', 'a/b'] as const;

/** Images in a fixed format: if another one is stated, the library fails at once, and this service at launch. */
const ALWAYS_QCOW2 = /(disk|overlay)\.qcow2$/;

const DRIVE_OPTIONS = (random: Random, filename: string): Record<string, Argument> =>
  sometimes(random, {
    readonly: random.chance(0.5),
    format: random.of('raw', ALWAYS_QCOW2.test(filename) ? 'qcow2' : 'raw', '', 'a/b'),
    iface: 'virtio',
    name: 'sda',
    label: random.of('label', 'x'.repeat(21), 'a-b', ''),
    cachemode: random.of('writeback', 'unsafe', 'nosuch'),
    discard: random.of('disable', 'enable', 'besteffort', 'nosuch'),
    copyonread: random.chance(0.5),
    blocksize: random.of(0, 512, 4096, 1024, -1),
  });

const SERVERS = [
  ['host.example'],
  ['host.example:10'],
  ['tcp:host.example:10'],
  ['unix:/nosuch'],
  ['host.example', 'other.example'],
  [],
  ['host.example:99999'],
  ['[::1]:10'],
  [':10'],
  ['host.example:x'],
  [''],
] as readonly (readonly string[])[];
const REMOTE_NAMES = ['', '/export', 'export', 'pool/image', '/'] as const;
const PROTOCOLS = [
  'nbd',
  'http',
  'https',
  'ftp',
  'ftps',
  'ssh',
  'iscsi',
  'rbd',
  'gluster',
  'tftp',
  'sheepdog',
  'nosuch',
  'file',
  '',
] as const;

const SET: Readonly<Record<string, readonly Argument[]>> = {
  set_append: ['debug', 'a b', ''],
  set_autosync: [true, false],
  set_direct: [true, false],
  set_identifier: ['one', 'a-b_c9', 'a b', 'ü', ''],
  set_memsize: [256, 1000, 255, 0, -1],
  set_network: [true, false],
  set_pgroup: [true, false],
  set_program: ['me', ''],
  set_recovery_proc: [true, false],
  set_selinux: [true, false],
  set_smp: [1, 4, 255, 256, 0, -1],
  set_verbose: [false],
  set_trace: [false],
  set_backend: ['direct', 'appliance', 'nosuch', ''],
  set_attach_method: ['appliance', 'direct', 'nosuch'],
  set_backend_settings: [['force_tcg'], ['force_tcg=1', 'x=y'], ['x', 'y=2', 'x=3'], []],
  set_path: ['/one:/two', ''],
  set_hv: ['/usr/bin/qemu-system-x86_64', '/nosuch'],
  set_qemu: ['/nosuch'],
  set_tmpdir: [HOST_DIRECTORY, '/nosuch', `${HOST_DIRECTORY}/raw.img`, 'relative', ''],
  set_cachedir: [HOST_DIRECTORY, '/nosuch', `${HOST_DIRECTORY}/raw.img`, ''],
};
/** The name of their argument, if it differs from that of the action. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  set_attach_method: 'backend',
  set_backend_settings: 'settings',
  set_path: 'searchpath',
  set_qemu: 'hv',
  set_recovery_proc: 'recoveryproc',
};

// Not get_tmpdir and get_cachedir: a directory that is refused unsets what was set before, but only in the library.
const GET = [
  'get_append',
  'get_autosync',
  'get_direct',
  'get_identifier',
  'get_memsize',
  'get_network',
  'get_pgroup',
  'get_program',
  'get_recovery_proc',
  'get_selinux',
  'get_smp',
  'get_verbose',
  'get_trace',
  'get_backend',
  'get_attach_method',
  'get_backend_settings',
  'get_path',
  'get_hv',
  'get_qemu',
  'get_state',
  'is_config',
  'is_launching',
  'is_ready',
  'is_busy',
  'max_disks',
  'debug_drives',
] as const;

const ENVIRONMENT = [
  'LIBGUESTFS_MEMSIZE=512',
  'LIBGUESTFS_MEMSIZE=1',
  'LIBGUESTFS_MEMSIZE=x',
  'LIBGUESTFS_MEMSIZE=300x',
  'LIBGUESTFS_APPEND=quiet',
  'LIBGUESTFS_PATH=/three',
  'LIBGUESTFS_HV=/other',
  'LIBGUESTFS_QEMU=/fourth',
  'LIBGUESTFS_TRACE=0',
  'LIBGUESTFS_DEBUG=0',
  'LIBGUESTFS_DEBUG=maybe',
  'LIBGUESTFS_BACKEND=direct',
  'LIBGUESTFS_BACKEND=nosuch',
  'LIBGUESTFS_BACKEND_SETTINGS=one:two=2',
  'LIBGUESTFS_TMPDIR=/nosuch',
  `LIBGUESTFS_CACHEDIR=${HOST_DIRECTORY}`,
  'OTHER=1',
  'nonsense',
] as const;

const CALLS: readonly ((random: Random) => Call)[] = [
  ...Object.entries(SET).map(
    ([name, values]) =>
      (random: Random) =>
        make(name, { [ARGUMENTS[name] ?? name.slice('set_'.length)]: random.of(...values) }),
  ),
  ...Object.entries(SET).map(
    ([name, values]) =>
      (random: Random) =>
        make(name, { [ARGUMENTS[name] ?? name.slice('set_'.length)]: random.of(...values) }),
  ),
  ...GET.map((name) => () => make(name)),
  (random) => make('set_backend_setting', { name: random.of('force_tcg', 'x', ''), val: random.of('1', '0', '') }),
  (random) => make('get_backend_setting', { name: random.of('force_tcg', 'x', 'y', 'nosuch', '') }),
  (random) => make('clear_backend_setting', { name: random.of('force_tcg', 'x', 'nosuch') }),
  (random) =>
    make('parse_environment_list', {
      environment: random.chance(0.1) ? [] : [random.of(...ENVIRONMENT), random.of(...ENVIRONMENT)],
    }),
  (random) =>
    make('device_index', {
      device: random.of(
        '/dev/sda',
        '/dev/vdb',
        '/dev/sdaa',
        '/dev/sda1',
        '/dev/hdz',
        'sda',
        '/dev/',
        '',
        '/dev/sd',
        '/dev/sdA',
        '/dev/zda',
        '/dev/ubda',
      ),
    }),
  (random) =>
    make('canonical_device_name', {
      device: random.of(
        '/dev/sda',
        '/dev/vdb1',
        '/dev/hda9',
        '/dev/xvda',
        '/dev/ubda',
        '/dev/md0',
        '/dev/mapper/vg-lv',
        '/dev/vg/lv',
        'sda',
        '',
        '/dev/dm-0',
        '/dev/sd',
        '/dev/fd0',
        '/dev/nbd0',
      ),
    }),
  ...Array.from({ length: 6 }, () => (random: Random) => {
    const filename = random.chance(0.1) ? '/dev/null' : image(random);
    return make('add_drive', { filename, ...DRIVE_OPTIONS(random, filename) });
  }),
  ...Array.from(
    { length: 6 },
    () => (random: Random) =>
      make('add_drive', {
        filename: random.of(...REMOTE_NAMES),
        protocol: random.of(...PROTOCOLS),
        server: random.of(...SERVERS),
        format: 'raw',
        ...(random.chance(0.5)
          ? { username: random.of('user', ''), ...sometimes(random, { secret: 'c2VjcmV0' }) }
          : {}),
      }),
  ),
  ...['add_drive_ro', 'add_cdrom'].map((name) => (random: Random) => make(name, { filename: image(random) })),
  ...['add_drive_with_if', 'add_drive_ro_with_if'].map(
    (name) => (random: Random) => make(name, { filename: image(random), iface: 'ide' }),
  ),
  (random) =>
    make('add_drive_scratch', {
      size: random.of(1, 1 << 20, 0, -1),
      ...sometimes(random, { name: 'sda', label: random.of('scratch', 'a b'), blocksize: random.of(512, 7) }),
    }),
  ...Array.from(
    { length: 6 },
    () => (random: Random) =>
      make('disk_create', {
        filename: random.of(
          ...['new.img', 'new.qcow2', 'directory', 'nosuch/new.img'].map((name) => `${HOST_DIRECTORY}/${name}`),
        ),
        format: random.of(...FORMATS, 'raw', 'qcow2'),
        size: random.of(0, 1 << 20, 12345, -1, -1),
        ...sometimes(
          random,
          random.chance(0.6) ? {} : { backingfile: image(random), backingformat: random.of('raw', 'qcow2', 'nosuch') },
        ),
        ...sometimes(random, {
          preallocation: random.of('off', 'sparse', 'metadata', 'full', 'nosuch'),
          compat: random.of('1.1', '0.10', 'nosuch'),
          clustersize: random.of(65536, 512, 1000, 4 << 20, -1),
        }),
      }),
  ),
  ...['disk_format', 'disk_virtual_size', 'disk_has_backing_file'].map(
    (name) => (random: Random) => make(name, { filename: image(random) }),
  ),
  ...['disk_format', 'disk_virtual_size', 'disk_has_backing_file'].map(
    (name) => (random: Random) => make(name, { filename: image(random) }),
  ),
];

export const handle: Domain = {
  name: 'handle',
  beginning: [
    make('set_program', { program: 'me' }),
    make('set_tmpdir', { tmpdir: HOST_DIRECTORY }),
    make('set_cachedir', { cachedir: HOST_DIRECTORY }),
    make('set_path', { searchpath: '/one' }),
    make('set_hv', { hv: '/usr/bin/qemu-system-x86_64' }),
    make('set_backend_settings', { settings: [] }),
  ],
  launched: false,
  call: (random) => random.of(...CALLS)(random),
};

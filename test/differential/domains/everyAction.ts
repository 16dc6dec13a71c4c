/** All actions that both sides have, each several times, with valid and invalid values. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allActions } from '../../../src/actions/areas.js';
import { isFileIn } from '../../../src/actions/shape.js';
import type { ActionDef } from '../../../src/actions/types.js';
import { fieldArguments } from '../../../src/generator/shape.js';
import type { Argument, Call } from '../call.js';
import type { Random } from '../random.js';
import { emptyHive } from '../../support/guests/registryHive.js';
import { isOld, optionsFor, valueFor } from './argumentValues.js';
import { CLEARED, make, type Domain } from './domain.js';

/** Actions that neither this domain nor that of handles calls, each with its reason. */
const LEFT_OUT: readonly { readonly reason: string; readonly names: readonly string[] }[] = [
  { reason: 'starts or ends the appliance', names: ['launch', 'shutdown', 'kill_subprocess'] },
  {
    reason: 'the library does not support adding and removing drives while the appliance runs',
    names: [
      'add_drive',
      'add_drive_ro',
      'add_drive_with_if',
      'add_drive_ro_with_if',
      'add_cdrom',
      'add_drive_scratch',
      'add_domain',
      'add_libvirt_dom',
      'remove_drive',
      'config',
    ],
  },
  {
    reason: 'refused with an alternative, by design',
    names: [
      'c_pointer',
      'mount_local',
      'mount_local_run',
      'umount_local',
      'get_libvirt_requested_credential_challenge',
      'get_libvirt_requested_credential_defresult',
      'get_libvirt_requested_credential_prompt',
      'get_libvirt_requested_credentials',
      'set_libvirt_requested_credential',
      'set_libvirt_supported_credentials',
    ],
  },
  {
    reason: "directories and variables of each side's own process",
    names: ['get_tmpdir', 'get_cachedir', 'get_sockdir', 'parse_environment'],
  },
  {
    reason: 'files of the host, for which each side has its own location and rules',
    names: ['copy_in', 'copy_out'],
  },
  { reason: 'cancels a concurrent call', names: ['user_cancel'] },
  { reason: 'take minutes', names: ['scrub_device', 'scrub_file', 'scrub_freespace', 'zero_free_space'] },
];

/** Settings of a session, and files of the host: see handle.ts. */
const OF_THE_HANDLE =
  /^(get|set)_(?!label|uuid|umask|e2|pid)|^(clear_backend_setting|parse_environment|disk_|copy_in|copy_out|user_cancel)/;
const BUT_IN_THE_DAEMON = /^(get|set)_/;

/** Their names. */
export const leftOut: ReadonlySet<string> = new Set(LEFT_OUT.flatMap(({ names }) => names));

/** All actions that both sides have. */
export const common = allActions.filter(
  (action) => action.visibility !== 'internal' && action.visibility !== 'debug' && isOld(action.since),
);

const asked = common.filter(
  (action) =>
    !leftOut.has(action.name) &&
    !(OF_THE_HANDLE.test(action.name) && (action.impl === 'library' || !BUT_IN_THE_DAEMON.test(action.name))),
);

/** How many calls there are when each action is called once. */
export const ACTION_COUNT = asked.length;

/** Small enough for actions that read an entire device. */
const SMALL_DEVICES = ['/dev/sda3', '/dev/sda3', '/dev/sdz', '/dev/vg/one', ''] as const;
const READS_ALL =
  /^(checksum_device|compress_device_out|copy_device_to|copy_file_to|copy_size|dd|zero_device|is_zero_device|ntfsclone_out|download|download_offset|upload|upload_offset|fill|fallocate|zero$|btrfs_image)/;
const FILES = ['/file', '/text', '/new', '/dir', '/nosuch', ''] as const;

function smallSubject(
  random: Random,
  argument: { readonly name: string; readonly kind?: string },
): Argument | undefined {
  if (argument.kind === 'device') return random.of(...SMALL_DEVICES);
  if (argument.kind === 'dev_or_path') return random.of(...SMALL_DEVICES, ...FILES);
  return undefined;
}

function filesWithin(names: Readonly<Record<string, string>>): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-differential-'));
  try {
    for (const [name, content] of Object.entries(names)) writeFileSync(join(directory, name), content, { mode: 0o644 });
    return execFileSync('tar', [
      '--create',
      '--owner=0',
      '--group=0',
      '--mtime=@1000000000',
      '--sort=name',
      '--directory',
      directory,
      '.',
    ]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const ARCHIVE = filesWithin({ 'from-archive': 'archived\n', other: 'x' });
const RULES = 'rule hello { strings: $a = "hello" condition: $a }\n';
const UPLOADS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from('aGVsbG8=\n'),
  ARCHIVE,
  Buffer.from(RULES),
  Buffer.from('nonsense\n'),
];

function callOf(random: Random, action: ActionDef): Call {
  const readsAll = READS_ALL.test(action.name);
  const args = Object.fromEntries(
    fieldArguments(action).map((argument) => {
      const value = (readsAll ? smallSubject(random, argument) : undefined) ?? valueFor(random, argument);
      return [argument.name, value];
    }),
  );
  // By this name it is stopped again.
  if (action.name === 'md_create') args['name'] = 'array';
  if (action.name === 'sleep') args['secs'] = random.of(0, 1, -1);
  return make(
    action.name,
    { ...args, ...optionsFor(random, action) },
    isFileIn(action) ? random.of(...UPLOADS) : undefined,
  );
}

const upload = (remotefilename: string, content: Buffer): Call => make('upload', { remotefilename }, content);

const BEGINNING: readonly Call[] = [
  ...['/dev/sda', '/dev/sda1', '/dev/sda2', '/dev/sda3', '/dev/sdb', '/dev/vg/one'].map((device) =>
    make('blockdev_setrw', { device }),
  ),
  make('aug_close'),
  make('hivex_close'),
  make('journal_close'),
  make('inotify_close'),
  make('swapoff_file', { file: '/swap' }),
  make('lvm_clear_filter'),
  ...['/dev/sda2', '/dev/sda3', '/dev/sda', '/dev/vg/one', '/dev/vg/two', '/dev/mapper/opened'].map((device) =>
    make('swapoff_device', { device }),
  ),
  make('umount_all'),
  make('luks_close', { device: '/dev/mapper/opened' }),
  make('md_stop', { md: '/dev/md/array' }),
  ...CLEARED,
  make('rmmountpoint', { exemptpath: '/mp' }),
  make('part_init', { device: '/dev/sda', parttype: 'gpt' }),
  make('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 2048, endsect: 206847 }),
  make('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 206848, endsect: 288767 }),
  make('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 288768, endsect: 309247 }),
  make('wipefs', { device: '/dev/sda1' }),
  make('wipefs', { device: '/dev/sda2' }),
  make('wipefs', { device: '/dev/sda3' }),
  make('pvcreate', { device: '/dev/sda2' }),
  make('vgcreate', { volgroup: 'vg', physvols: ['/dev/sda2'] }),
  make('lvcreate', { logvol: 'one', volgroup: 'vg', mbytes: 16 }),
  make('mkfs', { fstype: 'ext2', device: '/dev/vg/one' }),
  make('mkfs', { fstype: 'ntfs', device: '/dev/sda3' }),
  make('mkfs_btrfs', { devices: ['/dev/sdb'] }),
  make('mount', { mountable: '/dev/sdb', mountpoint: '/' }),
  make('btrfs_subvolume_create', { dest: '/sub' }),
  make('umount', { pathordevice: '/' }),
  make('mkfs', { fstype: 'ext4', device: '/dev/sda1' }),
  make('mount', { mountable: '/dev/sda1', mountpoint: '/' }),
  ...['/dir', '/dir/sub', '/etc', '/with space'].map((path) => make('mkdir', { path })),
  make('write', { path: '/file', content: 'hello\nworld\n' }),
  make('write', { path: '/text', content: 'root:x:0:0\nuser:x:1000\n' }),
  make('write', { path: '/etc/hosts', content: '127.0.0.1 localhost\n10.0.0.1 other.example other\n' }),
  make('ln_s', { target: 'file', linkname: '/link' }),
  upload('/archive.tar', ARCHIVE),
  upload('/hive', emptyHive()),
  make('fill_pattern', { pattern: 'image\n', len: 1 << 14, path: '/image' }),
  make('fallocate64', { path: '/swap', len: 1 << 20 }),
  make('mkswap_file', { path: '/swap' }),
];

/** All actions in a random order, again and again. */
class Deck {
  #left: ActionDef[] = [];

  next(random: Random): ActionDef {
    if (this.#left.length === 0) this.#left = [...asked];
    const [action] = this.#left.splice(random.integer(0, this.#left.length - 1), 1);
    return action as ActionDef;
  }
}

/** A separate deck, since the calls must not depend on other domains. */
export function everyAction(): Domain {
  const deck = new Deck();
  return {
    name: 'every action',
    beginning: BEGINNING,
    begun: make('cat', { path: '/file' }),
    call: (random) => callOf(random, deck.next(random)),
  };
}

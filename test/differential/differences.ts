/** Permitted differences between the two sides, each with its reason. Any other difference is a defect. */
import { allActions } from '../../src/actions/areas.js';
import type { Call, Outcome } from './call.js';

const ACTIONS: ReadonlySet<string> = new Set(allActions.map(({ name }) => name));

/** Unpredictable parts of answers, which are ignored on both sides. */
const UNFORESEEABLE: readonly { readonly reason: string; readonly fields: RegExp }[] = [
  { reason: 'the clock', fields: /^((st|tsk)_)?[amc]r?time(_n?sec)?$/ },
  { reason: 'ext4 chooses the group of an inode by a random number', fields: /^(st_)?ino$/ },
  {
    reason: 'blocks are allocated when the kernel writes them out, at an unpredictable time',
    fields: /^(st_)?blocks$/,
  },
  { reason: 'what remains of those', fields: /^(bfree|bavail|ffree|favail)$/ },
  { reason: 'the kernel numbers devices as it finds them', fields: /^(st_)?r?dev$/ },
  { reason: 'udev opens volumes at unpredictable times, which shows in their attributes', fields: /^lv_attr$/ },
  { reason: 'derived from the UUID of the file system, which is random', fields: /^fsid$/ },
];

/** In messages, and answers that are text. */
const TEXTS: readonly { readonly reason: string; readonly pattern: RegExp; readonly replacement: string }[] = [
  {
    reason: 'UUIDs are random, except those of partition types and the one that the calls set',
    pattern: /\b(?!11111111-|c12a7328-|0fc63daf-|ebd0a0a2-|e6d6d379-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi,
    replacement: '<UUID>',
  },
  {
    reason: 'so are those of LVM',
    pattern: /\b[0-9A-Za-z]{6}(-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}\b/g,
    replacement: '<LVM UUID>',
  },
  {
    reason: 'which it also writes without dashes; checksums have no such letters',
    pattern: /\b(?=[0-9a-f]*[A-Zg-z])[0-9A-Za-z]{32}\b/g,
    replacement: '<LVM UUID>',
  },
  {
    reason: 'only the library reports the kind of bus and the name, which have long had no effect',
    pattern: / (iface|name)=\w+/g,
    replacement: '',
  },
  {
    reason: 'empty drives are files in a random directory of the library',
    pattern: /^\S*\/libguestfs\S+\/\w+\.img|^\(scratch, \d+ bytes\)/g,
    replacement: '<scratch>',
  },
  {
    reason: "the daemon's temporary files and directories have random names",
    pattern: /(\/tmp\/\w*\.?)\w{6}\b/g,
    replacement: '$1<random>',
  },
  {
    reason: 'as do those that mktemp creates, or fails to create',
    pattern: /(?<=\/)\w{6}-x(?=: )/g,
    replacement: '<random>',
  },
  {
    reason:
      'when a program ends before it has read an upload, the daemon reports either that it cannot write or that the program failed',
    pattern: /^(write error|\w+ subcommand failed)(?= on (file|directory|device): )/g,
    replacement: '<failed>',
  },
  {
    reason: 'dd reports its duration and speed',
    pattern: /, [\d.e-]+ s, [\d.]+ \wB\/s$/gm,
    replacement: '',
  },
  {
    reason:
      'where a server has its appliance and qemu is none of the business of its clients: it says what the library has by default',
    pattern: /\/[^\s:"]*\/guestfs-grpc\/appliance\/[\w.-]+/g,
    replacement: '/usr/lib/guestfs',
  },
  {
    reason: 'the same; by default the library says where its qemu was when it was built',
    pattern: /\/usr\/bin\/(?=qemu-system-\w+)/g,
    replacement: '',
  },
  { reason: 'processes are numbered as they start', pattern: /\bpid \d+/gi, replacement: 'pid <number>' },
  {
    reason: "a boot discovers disks in any order, and tools report the kernel's names",
    pattern: /\bdm-\d+\b/g,
    replacement: 'dm-<number>',
  },
];

/** Lists whose order is irrelevant. */
const UNORDERED: Readonly<Record<string, string>> = {
  pvs: "the order of the kernel's names of disks",
  find: 'this service sorts what arrives in time, the library everything',
  readdir: 'the order in which the file system has them, which depends on a random number',
  filesystem_walk: 'the same',
  find_inode: 'the same',
  ls0: 'the same',
  find0: 'the same',
  getxattrs: 'the order in which the file system has them',
  lgetxattrs: 'the order in which the file system has them',
};

/** Files of which only the size is compared, because they contain current times. */
const BY_SIZE: ReadonlySet<string> = new Set(['tar_out', 'cpio_out']);
/** Answers whose values are not compared; errors are compared as for all others. */
const UNCOMPARED: readonly { readonly reason: string; readonly names: readonly string[] }[] = [
  { reason: 'compressed, with the times of files', names: ['tgz_out', 'txz_out', 'compress_out', 'mksquashfs'] },
  { reason: 'random numbers, and names derived from them', names: ['mktemp', 'mkdtemp', 'get_e2generation'] },
  {
    reason: 'text with times, UUIDs, or free space',
    names: ['ll', 'llz', 'df', 'df_h', 'du', 'tune2fs_l', 'vgmeta'],
  },
  { reason: 'the log of a kernel, and the number of a process', names: ['dmesg', 'get_pid'] },
];
const uncompared: ReadonlySet<string> = new Set(UNCOMPARED.flatMap(({ names }) => names));

/** File systems write random numbers and times; so the values of answers about an entire device are not compared. */
const ABOUT_DEVICES =
  /^(download|download_offset|download_blocks|pread_device|checksum|checksum_device|compress_device_out|ntfsclone_out|blkid|file|dd)$/;

function isAboutDevice({ name, args }: Call): boolean {
  return (
    ABOUT_DEVICES.test(name) &&
    Object.values(args).some((argument) => typeof argument === 'string' && argument.startsWith('/dev/'))
  );
}

function sizeOf(value: unknown): unknown {
  const { $bytes, $size } = value as { readonly $bytes?: string; readonly $size?: string };
  return $bytes === undefined ? $size : String(Buffer.from($bytes, 'base64').length);
}

/** For settings, drives and images of the host, refused without the daemon, this service has its own messages. */
const OWN_WORDS: ReadonlySet<string> = new Set(['BAD_ARGUMENT']);
const ABOUT_THE_HOST = /^(set_|add_|disk_|parse_environment|config)/;

function foreseeableText(text: string): string {
  return TEXTS.reduce((left, { pattern, replacement }) => left.replace(pattern, replacement), text);
}

function foreseeable(value: unknown): unknown {
  if (typeof value === 'string') return foreseeableText(value);
  if (Array.isArray(value)) return value.map(foreseeable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      UNFORESEEABLE.some(({ fields }) => fields.test(key)) ? '<unforeseeable>' : foreseeable(one),
    ]),
  );
}

/** Characters that this service escapes in its messages, which may end up in a terminal. */
const CONTROL = /[\0-\x08\x0b-\x1f\x7f]/g;

/** Without the library's prefix: the name of the action or of the daemon's function, or of those that implement it. */
function words(message: string): string {
  let left = message;
  for (
    let name = firstWord(left);
    name !== undefined &&
    ACTIONS.has(
      name
        .replace(/^do_/, '')
        .replace(/_stub$/, '')
        .replace(/_opts$/, ''),
    );
    name = firstWord(left)
  )
    left = left.slice(name.length + 2);
  return foreseeableText(
    left.replace(CONTROL, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`),
  ).trim();
}

function firstWord(message: string): string | undefined {
  return /^(\w+): /.exec(message)?.[1];
}

/** The drives of a handle that both sides accept or refuse at the same time: see {@link REFUSED_EARLIER}. */
const TAKEN_BY_BOTH = /^(<scratch>|<images>\/(?!directory))/;

function takenByBoth(drives: readonly unknown[]): readonly unknown[] {
  const labels = new Set<string>();
  return drives.map(String).filter((drive) => {
    if (!TAKEN_BY_BOTH.test(drive)) return false;
    const label = / label=(\w+)/.exec(drive)?.[1];
    if (label === undefined) return true;
    const isFirst = !labels.has(label);
    labels.add(label);
    return isFirst;
  });
}

/** The entries of a list, or of a file of names. */
function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value as unknown[];
  const { $bytes } = value as { readonly $bytes?: string };
  return $bytes === undefined ? undefined : Buffer.from($bytes, 'base64').toString('latin1').split('\0');
}

/** How an outcome is compared. */
export function comparable(call: Call, outcome: Outcome): unknown {
  if ('value' in outcome) {
    if (uncompared.has(call.name) || isAboutDevice(call)) return { value: '<uncompared>' };
    const answer = BY_SIZE.has(call.name) ? sizeOf(outcome.value) : foreseeable(outcome.value);
    const value = call.name === 'debug_drives' && Array.isArray(answer) ? takenByBoth(answer) : answer;
    const items = call.name in UNORDERED ? itemsOf(value) : undefined;
    return { value: items === undefined ? value : items.map((one) => JSON.stringify(one)).sort() };
  }
  return OWN_WORDS.has(outcome.errno) ? { errno: 'EINVAL' } : { errno: outcome.errno, message: words(outcome.message) };
}

/** The library fails without an errno; this service adds one, so that the status is not just UNKNOWN. */
const WITH_ERRNO: Readonly<Record<string, string>> = { device_index: 'ENODEV' };

/** tune2fs's message about a mounted file system, which the daemon passes on or loses at random, on either side. */
const SAID_OR_NOT: ReadonlySet<string> = new Set(['set_uuid', 'set_uuid_random', 'set_e2uuid']);

/** Refusals by the daemon without a message: the library passes them on unchanged, this service says so. */
const WORDLESS = /, and the daemon gave no reason; GetLog may show more$/;

/** Refused images of the host: this service has its own reasons, the library an errno or only qemu-img's message. */
const IMAGE_REASONS: Readonly<Record<string, readonly string[]>> = {
  IMAGE_MISSING: ['ENOENT', 'DAEMON_ERROR'],
  IMAGE_UNUSABLE: ['DAEMON_ERROR', 'EISDIR', 'ENOENT'],
  OUTSIDE_IMAGE_ROOTS: ['DAEMON_ERROR', 'ENOENT'],
};

/** Protocols whose arguments the library does not fully check. */
const LATER = /^(https?|ftps?|tftp|rbd|iscsi|ssh|sheepdog|nbd|gluster)$/;

/** Actions whose errors come from the host's system calls, for which each side has its own messages. */
const HOST_ERRORS: ReadonlySet<string> = new Set(['set_tmpdir', 'set_cachedir', 'parse_environment_list']);

/** What this service refuses at once, while in the library something fails later. */
const REFUSED_EARLIER: readonly { readonly why: string; readonly refuses: (call: Call, errno: string) => boolean }[] = [
  { why: 'it does not fit into one message', refuses: (_call, errno) => errno === 'MESSAGE_TOO_LARGE' },
  {
    why: 'a directory is not a disk image',
    refuses: ({ name }, errno) => name.startsWith('add_') && errno === 'IMAGE_UNUSABLE',
  },
  {
    why: 'another drive has the label: the library accepts both, and the label is then ambiguous',
    refuses: ({ name }, errno) => name.startsWith('add_') && errno === 'EEXIST',
  },
  {
    why: 'a file is not a directory',
    refuses: ({ name }, errno) => /^set_(tmp|cache)dir$/.test(name) && errno === 'BAD_ARGUMENT',
  },
  {
    why: 'qemu would refuse it at launch: a writable file of a web server, a user without a name, a port that is not a number, a Ceph image without a pool',
    refuses: (call, errno) =>
      call.name === 'add_drive' && errno === 'BAD_ARGUMENT' && LATER.test(String(call.args['protocol'])),
  },
  {
    why: 'clients may use sockets of the host only under image roots',
    refuses: ({ name }, errno) => name === 'add_drive' && errno === 'OUTSIDE_IMAGE_ROOTS',
  },
];

/** A download that the daemon aborts, for which neither side has details. */
const BROKEN_OFF = { ours: /the daemon could not send the whole file/, theirs: /^file receive cancelled by daemon/ };

/** The library fails without a message if the list is empty: it mistakes an empty allocation for a failed one. */
const EMPTY_FAILS: ReadonlySet<string> = new Set(['find_inode', 'filesystem_walk', 'yara_scan']);

/** The mark that this service puts in place of the middle of messages that do not fit into a status. */
const LEFT_OUT = ' [...] ';

/** Whether a message is that of the other side without its middle. */
function isShortened(message: string, whole: string): boolean {
  const [head = '', tail] = message.split(LEFT_OUT);
  return tail !== undefined && words(whole).startsWith(words(head)) && words(whole).endsWith(words(tail));
}

/** What this service adds to the daemon's message, and what it leaves out of it: the complaint of a helper of mount(8). */
const ADDED = /\n?there is no file system that can be mounted|\nthe last lines of the kernel's log:\n[\s\S]*$/g;
const LEFT_TO_LIBRARY = /^mount\.nilfs2: .*$/gm;

function without(pattern: RegExp, outcome: Outcome): Outcome {
  return 'errno' in outcome ? { ...outcome, message: outcome.message.replace(pattern, '').trim() } : outcome;
}

/** Whether both outcomes agree, apart from permitted differences. */
export function agree(call: Call, ours: Outcome, theirs: Outcome): boolean {
  return agreeBare(call, without(ADDED, ours), without(LEFT_TO_LIBRARY, theirs));
}

function agreeBare(call: Call, ours: Outcome, theirs: Outcome): boolean {
  if ('value' in ours && 'errno' in theirs && EMPTY_FAILS.has(call.name))
    return Array.isArray(ours.value) && ours.value.length === 0;
  if ('errno' in ours && 'value' in theirs && REFUSED_EARLIER.some(({ refuses }) => refuses(call, ours.errno)))
    return true;
  if ('errno' in ours && 'errno' in theirs && IMAGE_REASONS[ours.errno]?.includes(theirs.errno)) return true;
  if (
    'errno' in ours &&
    'errno' in theirs &&
    BROKEN_OFF.ours.test(ours.message) &&
    BROKEN_OFF.theirs.test(theirs.message)
  )
    return true;
  if ('errno' in ours && 'errno' in theirs && HOST_ERRORS.has(call.name))
    return ours.errno === theirs.errno || OWN_WORDS.has(ours.errno);
  if ('errno' in ours && OWN_WORDS.has(ours.errno)) {
    return (
      'errno' in theirs &&
      (theirs.errno === 'EINVAL' || theirs.errno === 'DAEMON_ERROR') &&
      (ABOUT_THE_HOST.test(call.name) || ours.message.endsWith(words(theirs.message)))
    );
  }
  if ('errno' in ours && 'errno' in theirs && SAID_OR_NOT.has(call.name)) return ours.errno === theirs.errno;
  if ('errno' in ours && 'errno' in theirs && WORDLESS.test(ours.message))
    return ours.errno === theirs.errno && words(theirs.message).replace(/^\w+:$/, '') === '';
  if ('errno' in ours && WITH_ERRNO[call.name] === ours.errno)
    return 'errno' in theirs && words(theirs.message) === words(ours.message);
  if ('errno' in ours && 'errno' in theirs && isShortened(ours.message, theirs.message))
    return ours.errno === theirs.errno;
  return JSON.stringify(comparable(call, ours)) === JSON.stringify(comparable(call, theirs));
}

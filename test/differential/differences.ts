/** What the two sides may differ in, each with its reason. All else is a defect. */
import { allActions } from '../../src/actions/areas.js';
import type { Call, Outcome } from './call.js';

const ACTIONS: ReadonlySet<string> = new Set(allActions.map(({ name }) => name));

/** Parts of answers that nobody can foresee: they are left out on both sides. */
const UNFORESEEABLE: readonly { readonly reason: string; readonly fields: RegExp }[] = [
  { reason: 'the clock', fields: /^((st|tsk)_)?[amc]r?time(_n?sec)?$/ },
  { reason: 'ext4 chooses the group of an inode by a random number', fields: /^(st_)?ino$/ },
  {
    reason: 'blocks are allocated when the kernel writes them out, which it does when it likes',
    fields: /^(st_)?blocks$/,
  },
  { reason: 'what is left over of those', fields: /^(bfree|bavail|ffree|favail)$/ },
  { reason: 'the kernel numbers devices as it finds them', fields: /^(st_)?r?dev$/ },
  { reason: 'udev opens volumes when it likes, which their attributes show', fields: /^lv_attr$/ },
  { reason: 'made of the UUID of the file system, which is random', fields: /^fsid$/ },
];

/** In messages, and answers that are text. */
const TEXTS: readonly { readonly reason: string; readonly pattern: RegExp; readonly replacement: string }[] = [
  {
    reason: 'UUIDs are random, but for those of types of partitions, and the one that the calls set',
    pattern: /\b(?!11111111-|c12a7328-|0fc63daf-|ebd0a0a2-|e6d6d379-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi,
    replacement: '<UUID>',
  },
  {
    reason: 'so are those of LVM',
    pattern: /\b[0-9A-Za-z]{6}(-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}\b/g,
    replacement: '<LVM UUID>',
  },
  {
    reason: 'which it writes without dashes, too; checksums have no such letters',
    pattern: /\b(?=[0-9a-f]*[A-Zg-z])[0-9A-Za-z]{32}\b/g,
    replacement: '<LVM UUID>',
  },
  {
    reason: 'the kind of bus and the name, which have had no effect for long, are told by libraries only',
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
    reason: 'so have those that mktemp makes, or cannot make',
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
    reason: 'dd tells how long it took, and how fast it was',
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
  { reason: 'processes are numbered as they come', pattern: /\bpid \d+/gi, replacement: 'pid <number>' },
  {
    reason: "a boot finds disks in any order, and tools tell the kernel's names",
    pattern: /\bdm-\d+\b/g,
    replacement: 'dm-<number>',
  },
];

/** Lists in an order that means nothing. */
const UNORDERED: Readonly<Record<string, string>> = {
  pvs: "the order of the kernel's names of disks",
  find: 'this service sorts what comes in time, the library all of it',
  readdir: 'the order in which the file system has them, which depends on a random number',
  filesystem_walk: 'the same',
  find_inode: 'the same',
  ls0: 'the same',
  find0: 'the same',
  getxattrs: 'the order in which the file system has them',
  lgetxattrs: 'the order in which the file system has them',
};

/** Files of which only the size is compared: the times of the files in them are the clock's. */
const BY_SIZE: ReadonlySet<string> = new Set(['tar_out', 'cpio_out']);
/** Answers of which it is compared only that they come: errors are compared as those of all others. */
const UNCOMPARED: readonly { readonly reason: string; readonly names: readonly string[] }[] = [
  { reason: 'compressed, times of files and all', names: ['tgz_out', 'txz_out', 'compress_out', 'mksquashfs'] },
  { reason: 'random numbers, and names made of them', names: ['mktemp', 'mkdtemp', 'get_e2generation'] },
  {
    reason: 'text with times, UUIDs, or what is free',
    names: ['ll', 'llz', 'df', 'df_h', 'du', 'tune2fs_l', 'vgmeta'],
  },
  { reason: 'the log of a kernel, and the number of a process', names: ['dmesg', 'get_pid'] },
];
const uncompared: ReadonlySet<string> = new Set(UNCOMPARED.flatMap(({ names }) => names));

/** What a file system itself writes has random numbers and times in it: as little is compared of answers about all of a device. */
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

/** What the library says about an argument that it refuses without asking the daemon, this service says in words of its own where they are settings, drives, and images of the host. */
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

/** Characters that this service writes out in its messages, which may end up in a terminal. */
const CONTROL = /[\0-\x08\x0b-\x1f\x7f]/g;

/** Without the names of actions, and of the daemon's functions for them, with which the library begins: its own, or of those that it is made from. */
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

/** Of the drives of a handle those that both sides take, or refuse, at the same time: see {@link REFUSED_EARLIER}. */
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

/** What is in a list, or in a file of names. */
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

/** Where the library fails without an errno, and this service gives one, so that the status says more than UNKNOWN. */
const WITH_ERRNO: Readonly<Record<string, string>> = { device_index: 'ENODEV' };

/** What tune2fs says of a file system that is mounted the daemon passes on, or loses, as it happens: on either side. */
const SAID_OR_NOT: ReadonlySet<string> = new Set(['set_uuid', 'set_uuid_random', 'set_e2uuid']);

/** What the daemon refuses without a word, the library passes on so; this service says that there is none. */
const WORDLESS = /, and the daemon gave no reason; GetLog may show more$/;

/** What images of the host are refused for under a name of ours, where the library has an errno, or none and qemu-img's words. */
const IMAGE_REASONS: Readonly<Record<string, readonly string[]>> = {
  IMAGE_MISSING: ['ENOENT', 'DAEMON_ERROR'],
  IMAGE_UNUSABLE: ['DAEMON_ERROR', 'EISDIR', 'ENOENT'],
  OUTSIDE_IMAGE_ROOTS: ['DAEMON_ERROR', 'ENOENT'],
};

/** Protocols whose arguments the library does not check all of. */
const LATER = /^(https?|ftps?|tftp|rbd|iscsi|ssh|sheepdog|nbd|gluster)$/;

/** Actions whose errors come from the host's system calls: each side has words of its own for them. */
const HOST_ERRORS: ReadonlySet<string> = new Set(['set_tmpdir', 'set_cachedir', 'parse_environment_list']);

/** What this service refuses at once, and the library by what fails later. */
const REFUSED_EARLIER: readonly { readonly why: string; readonly refuses: (call: Call, errno: string) => boolean }[] = [
  { why: 'it does not fit into one message', refuses: (_call, errno) => errno === 'MESSAGE_TOO_LARGE' },
  {
    why: 'a directory is no disk image',
    refuses: ({ name }, errno) => name.startsWith('add_') && errno === 'IMAGE_UNUSABLE',
  },
  {
    why: 'another drive has the label: the library takes both, and the label then stands for either',
    refuses: ({ name }, errno) => name.startsWith('add_') && errno === 'EEXIST',
  },
  {
    why: 'a file is no directory',
    refuses: ({ name }, errno) => /^set_(tmp|cache)dir$/.test(name) && errno === 'BAD_ARGUMENT',
  },
  {
    why: "qemu would refuse it at launch: a web server's file that is to be written, a user without a name, a port that is no number, an image of Ceph without a pool",
    refuses: (call, errno) =>
      call.name === 'add_drive' && errno === 'BAD_ARGUMENT' && LATER.test(String(call.args['protocol'])),
  },
  {
    why: 'sockets of the host are under image roots, or not for clients',
    refuses: ({ name }, errno) => name === 'add_drive' && errno === 'OUTSIDE_IMAGE_ROOTS',
  },
];

/** A download that the daemon breaks off says no more to either side. */
const BROKEN_OFF = { ours: /the daemon could not send the whole file/, theirs: /^file receive cancelled by daemon/ };

/** The library fails, and says nothing, where there is nothing in the list that it was asked for: it takes an empty allocation for a failed one. */
const EMPTY_FAILS: ReadonlySet<string> = new Set(['find_inode', 'filesystem_walk', 'yara_scan']);

/** What this service leaves out of messages that do not fit into a status. */
const LEFT_OUT = ' [...] ';

/** Whether a message is that of the other side with its middle left out. */
function isShortened(message: string, whole: string): boolean {
  const [head = '', tail] = message.split(LEFT_OUT);
  return tail !== undefined && words(whole).startsWith(words(head)) && words(whole).endsWith(words(tail));
}

/** Whether both outcomes are the same, as far as they can be. */
export function agree(call: Call, ours: Outcome, theirs: Outcome): boolean {
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

/** What a client can do about some failures of the daemon, whose messages do not say. */
import { debug } from '../../gen/calls/debug.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Ask } from './ask.js';
import { otherSectors } from './otherSectors.js';

/** mount(8) refers to the kernel's log, which a client cannot see. */
const MORE_IN_LOG = /dmesg\(1\) may have more information/;
const KERNEL_LINES = 'dmesg | tail -n 8';
/** All lines together, characters. */
const MAX_LINES = 2000;

/** A file system that is none: the helper of the last type that was tried complains. */
const NILFS_HELPER = /^mount\.nilfs2: .*$/gm;

interface Hint {
  readonly pattern: RegExp;
  readonly hint: string;
  /** Instead of the daemon's. */
  readonly reason?: string;
}

const HINTS: readonly Hint[] = [
  {
    pattern: /duplicate UUID/i,
    hint: 'another XFS with the same UUID is mounted: mount this one with the option nouuid (MountOptions)',
  },
  {
    pattern: /(?:Multiple VGs found with the same name|VG name \S+ is used by VGs|Duplicate VG name)/i,
    hint: 'two volume groups have the same name: hide the drives of one of them with lvm_set_filter',
  },
  {
    pattern: /Not enough (?:available )?memory to (?:open|unlock)|Not enough available memory/i,
    hint: 'the key slot needs more memory than the appliance has: launch it with a larger memsize',
    reason: 'OUT_OF_MEMORY',
  },
];

/** What cryptsetup says if key derivation fails for another reason than a wrong key; with OpenSSL also if memory is short. */
const KEY_SLOT_FAILED = /Keyslot open failed/;

/** Prints the most memory that a key slot needs, and how much there is, both in KiB. */
const KEY_SLOT_MEMORY = `for device in $(blkid -t TYPE=crypto_LUKS -o device); do cryptsetup luksDump "$device"; done |
  awk '/^[ \t]+Memory:/ && $2 + 0 > most { most = $2 + 0 } END { printf "%d ", most }'
awk '/^MemAvailable:/ { print $2 }' /proc/meminfo`;

/** No partition table, or no file system, on a whole drive; in the words of parted and mount(8). */
const NOTHING_ON_DRIVE = [
  /Error: (\/dev\/[hsv]d[a-z]+): unrecognised disk label/,
  /wrong fs type, bad option, bad superblock on (\/dev\/[hsv]d[a-z]+)[,.]/,
];

/** The last lines of the kernel's log; none if they cannot be had. */
async function kernelLines(ask: Ask): Promise<string> {
  try {
    const { result } = await ask(debug, { subcmd: 'sh', extraargs: [KERNEL_LINES] });
    return printable(result.slice(-MAX_LINES));
  } catch {
    // The failure that these lines would explain is what matters.
    return '';
  }
}

/** What is wrong with a drive that has a GPT, and yet none that can be used; empty for any other. */
async function sectorHint(message: string, ask: Ask): Promise<string> {
  const drive = NOTHING_ON_DRIVE.map((pattern) => pattern.exec(message)?.[1]).find((one) => one !== undefined);
  if (drive === undefined) return '';
  try {
    const found = await otherSectors(drive, ask);
    return found === undefined ? '' : `\n${found}`;
  } catch {
    // As for the kernel's lines.
    return '';
  }
}

/** What a key slot lacks that could not be opened; empty if it is not memory. */
async function keySlotHint(message: string, ask: Ask): Promise<string> {
  if (!KEY_SLOT_FAILED.test(message)) return '';
  try {
    const { result } = await ask(debug, { subcmd: 'sh', extraargs: [KEY_SLOT_MEMORY] });
    const [, needed, available] = /^(\d{1,10}) (\d{1,10})\n?$/.exec(result) ?? [];
    if (needed === undefined || Number(needed) <= Number(available)) return '';
    return `\nNot enough available memory to open a keyslot, which needs ${Math.ceil(Number(needed) / 1024)} MiB`;
  } catch {
    // As for the kernel's lines.
    return '';
  }
}

/** The error with what the client needs to know: the kernel's lines that it refers to, and what to do. */
export async function hinted(error: GuestfsError, ask: Ask): Promise<GuestfsError> {
  let { message } = error;
  if (NILFS_HELPER.test(message)) {
    const rest = message.replace(NILFS_HELPER, '').trim();
    message = `${rest}${rest === '' ? '' : '\n'}there is no file system that can be mounted`;
  }
  if (MORE_IN_LOG.test(message)) {
    const lines = await kernelLines(ask);
    if (lines !== '') message += `\nthe last lines of the kernel's log:\n${lines}`;
  }
  message += await sectorHint(message, ask);
  message += await keySlotHint(message, ask);
  const found = HINTS.find(({ pattern }) => pattern.test(message));
  if (found !== undefined) message += `\n${found.hint}`;
  if (message === error.message) return error;
  return new GuestfsError(found?.reason ?? error.reason, message, { ...error.details, cause: error });
}

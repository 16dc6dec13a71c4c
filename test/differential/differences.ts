/** What the two sides may differ in, each with its reason. All else is a defect. */
import { allActions } from '../../src/actions/areas.js';
import type { Call, Outcome } from './call.js';

const ACTIONS: ReadonlySet<string> = new Set(allActions.map(({ name }) => name));

/** Parts of answers that nobody can foresee: they are left out on both sides. */
const UNFORESEEABLE: readonly { readonly reason: string; readonly fields: RegExp }[] = [
  { reason: 'the clock', fields: /^(st_)?[amc]time(_n?sec)?$/ },
  { reason: 'ext4 chooses the group of an inode by a random number', fields: /^(st_)?ino$/ },
  { reason: 'blocks are allocated when the kernel writes them out, which it does when it likes', fields: /^(st_)?blocks$/ },
  { reason: 'what is left over of those', fields: /^(bfree|bavail|ffree|favail)$/ },
  { reason: 'the kernel numbers devices as it finds them', fields: /^(st_)?r?dev$/ },
];

/** In messages, and answers that are text. */
const TEXTS: readonly { readonly reason: string; readonly pattern: RegExp; readonly replacement: string }[] = [
  { reason: 'UUIDs are random', pattern: /\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, replacement: '<UUID>' },
  { reason: 'so are those of LVM', pattern: /\b[0-9A-Za-z]{6}(-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}\b/g, replacement: '<LVM UUID>' },
  { reason: 'which it writes without dashes, too', pattern: /\b[0-9A-Za-z]{32}\b/g, replacement: '<LVM UUID>' },
  { reason: 'processes are numbered as they come', pattern: /\bpid \d+/gi, replacement: 'pid <number>' },
  { reason: 'a boot finds disks in any order, and tools tell the kernel\'s names', pattern: /\bdm-\d+\b/g, replacement: 'dm-<number>' },
];

/** Lists in an order that means nothing. */
const UNORDERED: Readonly<Record<string, string>> = {
  pvs: 'the order of the kernel\'s names of disks',
  find: 'this service sorts what comes in time, the library all of it',
  getxattrs: 'the order in which the file system has them',
  lgetxattrs: 'the order in which the file system has them',
};

/** What the library says about an argument that it refuses without asking the daemon, this service says in its own words. */
const OWN_WORDS: ReadonlySet<string> = new Set(['BAD_ARGUMENT']);

function foreseeableText(text: string): string {
  return TEXTS.reduce((left, { pattern, replacement }) => left.replace(pattern, replacement), text);
}

function foreseeable(value: unknown): unknown {
  if (typeof value === 'string') return foreseeableText(value);
  if (Array.isArray(value)) return value.map(foreseeable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, UNFORESEEABLE.some(({ fields }) => fields.test(key)) ? '<unforeseeable>' : foreseeable(one)]));
}

/** Characters that this service writes out in its messages, which may end up in a terminal. */
const CONTROL = /[\0-\x08\x0b-\x1f\x7f]/g;

/** Without the names of actions, and of the daemon's functions for them, with which the library begins: its own, or of those that it is made from. */
function words(message: string): string {
  let left = message;
  for (let name = firstWord(left); name !== undefined && ACTIONS.has(name.replace(/^do_/, '').replace(/_stub$/, '').replace(/_opts$/, '')); name = firstWord(left)) left = left.slice(name.length + 2);
  return foreseeableText(left.replace(CONTROL, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)).trim();
}

function firstWord(message: string): string | undefined {
  return /^(\w+): /.exec(message)?.[1];
}

/** How an outcome is compared. */
export function comparable(call: Call, outcome: Outcome): unknown {
  if ('value' in outcome) {
    const value = foreseeable(outcome.value);
    return call.name in UNORDERED && Array.isArray(value) ? { value: value.map((one) => JSON.stringify(one)).sort() } : { value };
  }
  return OWN_WORDS.has(outcome.errno) ? { errno: 'EINVAL' } : { errno: outcome.errno, message: words(outcome.message) };
}

/** Where the library fails without an errno, and this service gives one, so that the status says more than UNKNOWN. */
const WITH_ERRNO: Readonly<Record<string, string>> = { device_index: 'ENODEV' };

/** What the daemon refuses without a word, the library passes on so; this service says that there is none. */
const WORDLESS = /, and the daemon does not say why; GetLog may show more$/;

/** Whether both outcomes are the same, as far as they can be. */
export function agree(call: Call, ours: Outcome, theirs: Outcome): boolean {
  if ('errno' in ours && OWN_WORDS.has(ours.errno)) return 'errno' in theirs && (theirs.errno === 'EINVAL' || theirs.errno === 'DAEMON_ERROR');
  if ('errno' in ours && 'errno' in theirs && WORDLESS.test(ours.message)) return ours.errno === theirs.errno && words(theirs.message).replace(/^\w+:$/, '') === '';
  if ('errno' in ours && WITH_ERRNO[call.name] === ours.errno) return 'errno' in theirs && words(theirs.message) === words(ours.message);
  return JSON.stringify(comparable(call, ours)) === JSON.stringify(comparable(call, theirs));
}

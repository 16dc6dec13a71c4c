/**
 * Turns the end of a machine that never came up into an error that says why.
 *
 * What is looked at was written by qemu and by the appliance; it is quoted, made
 * printable and cut, and nothing in it is believed beyond the choice of a reason.
 */
import { GuestfsError, type OwnReason } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Accelerator } from '../qemu/accelerator.js';

/** Bytes of the console that a message carries: with qemu's words and the details it must stay under 4 KiB. */
export const CONSOLE_QUOTE = 2048;
/** Bytes of qemu's own words that it carries. */
export const QEMU_QUOTE = 640;

/** Appliances have been seen to come up with half of this, and to fail with a third. */
const LITTLE_MEMORY_MB = 256;

/** What is known of a failed launch. */
export interface LaunchFailure {
  /** How qemu ended, or that the daemon did not speak in time. */
  readonly exit: { readonly exitCode: number | undefined; readonly signal: string | undefined } | 'timeout';
  /** What qemu itself said. */
  readonly qemuMessages: string;
  /** The end of the console; may repeat qemu's words. */
  readonly console: string;
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
  /** Explains qemu's words when they are about a drive. */
  readonly explainDrives?: (qemuMessages: string) => GuestfsError | undefined;
}

/** The error of a failed launch. */
export function explainLaunchFailure(failure: LaunchFailure): GuestfsError {
  const aboutDrive = failure.exit === 'timeout' ? undefined : failure.explainDrives?.(failure.qemuMessages);
  const [reason, sentence] = aboutDrive === undefined ? diagnose(failure) : [aboutDrive.reason, aboutDrive.message];
  const qemu = quoteEnd(failure.qemuMessages, QEMU_QUOTE);
  const console = quoteEnd(untilPanic(failure.console), CONSOLE_QUOTE);
  const message = [
    sentence,
    ...(qemu === '' ? [] : [`qemu said: ${qemu}`]),
    ...(console === '' || console === qemu ? [] : [`the console ended with:\n${console}`]),
  ].join('\n');
  return new GuestfsError(reason, message, {
    ...aboutDrive?.details,
    metadata: { accelerator: failure.accelerator, ...aboutDrive?.details.metadata },
  });
}

/** What led to a panic, without the registers and addresses that follow. */
function untilPanic(console: string): string {
  const panic = /Kernel panic - not syncing[^\r\n]*/.exec(console);
  return panic === null ? console : console.slice(0, panic.index + panic[0].length);
}

type Diagnosis = readonly [reason: OwnReason, sentence: string];

const GUEST_OUT_OF_MEMORY =
  /Out of memory: Kill|System is deadlocked on memory|out of memory and no killable processes|Initramfs unpacking failed: write error|not enough memory|Cannot allocate memory/i;
const KVM_FAILURE =
  /KVM kernel module|failed to initialize (kvm|KVM)|KVM: |kvm_|ioctl\(KVM|error: failed to set MSR|KVM internal error/;

function diagnose({ exit, qemuMessages, console, accelerator, memsizeMb }: LaunchFailure): Diagnosis {
  const memory = `the appliance has too little memory with ${memsizeMb} MiB; give the session a larger memsize`;
  if (/Cannot allocate memory|cannot set up guest memory|failed to allocate/i.test(qemuMessages)) {
    return ['OUT_OF_MEMORY', `the server has too little memory for an appliance of ${memsizeMb} MiB`];
  }
  if (accelerator === 'kvm' && KVM_FAILURE.test(qemuMessages))
    return ['KVM_UNUSABLE', 'KVM does not work on this server'];
  if (/Failed to get (shared )?"[^"]+" lock/.test(qemuMessages))
    return ['IMAGE_LOCKED', 'an image of this session is in use by another virtual machine'];
  if (GUEST_OUT_OF_MEMORY.test(console)) return ['OUT_OF_MEMORY', memory];
  if (console.includes('Kernel panic - not syncing')) return ['KERNEL_PANIC', "the appliance's kernel panicked"];
  if (exit === 'timeout') return ['LAUNCH_TIMEOUT', 'the appliance did not come up in time'];
  if (exit.signal === 'SIGKILL')
    return ['QEMU_FAILED', 'qemu was killed while the appliance started; the host may be out of memory'];
  if (exit.signal !== undefined) return ['QEMU_FAILED', `qemu died of ${exit.signal} while the appliance started`];
  if (exit.exitCode !== 0) return ['QEMU_FAILED', `qemu failed with exit code ${String(exit.exitCode)}`];
  // A kernel that finds no room for itself ends without a word, a daemon by a fault.
  if (memsizeMb < LITTLE_MEMORY_MB) return ['OUT_OF_MEMORY', memory];
  return ['LAUNCH_FAILED', 'the appliance ended before its daemon was ready'];
}

/** The last lines of hostile text, printable, in at most `limit` bytes of UTF-8. */
export function quoteEnd(text: string, limit: number): string {
  // Colours and cursor movements say nothing here; what else is not printable is shown as what it is.
  const plain = printable(text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '')).trim();
  const bytes = Buffer.from(plain, 'utf8');
  if (bytes.length <= limit) return plain;
  let start = bytes.length - limit + '...'.length;
  // Not in the middle of a character.
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return `...${bytes.subarray(start).toString('utf8')}`;
}

/**
 * Turns the exit of a machine that failed to start into an error that explains it.
 *
 * The output of qemu and of the appliance is untrusted: it is quoted in printable
 * form, truncated, and used for nothing but the choice of the error's reason.
 */
import { GuestfsError, type OwnReason } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Accelerator } from '../qemu/accelerator.js';

/** Bytes of the console quoted in a message: with qemu's output and the details it must stay under 4 KiB. */
export const CONSOLE_QUOTE = 2048;
/** Bytes of qemu's own output quoted in a message. */
export const QEMU_QUOTE = 640;

/** In tests, appliances started with half of this, and failed with a third. */
const LITTLE_MEMORY_MB = 256;

/** What is known about a failed launch. */
export interface LaunchFailure {
  /** How qemu exited; or `timeout`: the daemon did not report in time. */
  readonly exit: { readonly exitCode: number | undefined; readonly signal: string | undefined } | 'timeout';
  /** qemu's own output. */
  readonly qemuMessages: string;
  /** The end of the console output; may include qemu's own. */
  readonly console: string;
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
  /** Explains qemu's output if it is about a drive. */
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
    ...(qemu === '' ? [] : [`qemu output: ${qemu}`]),
    ...(console === '' || console === qemu ? [] : [`last console output:\n${console}`]),
  ].join('\n');
  return new GuestfsError(reason, message, {
    ...aboutDrive?.details,
    metadata: {
      accelerator: failure.accelerator,
      ...(failure.exit === 'timeout' || failure.exit.signal === undefined ? {} : { signal: failure.exit.signal }),
      ...aboutDrive?.details.metadata,
    },
  });
}

/** The console up to a kernel panic, without the register dump and call trace that follow. */
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
  const memory = `${memsizeMb} MiB is too little memory for the appliance; give the session a larger memsize`;
  if (/Cannot allocate memory|cannot set up guest memory|failed to allocate/i.test(qemuMessages)) {
    return ['OUT_OF_MEMORY', `the server has too little memory for an appliance of ${memsizeMb} MiB`];
  }
  if (accelerator === 'kvm' && KVM_FAILURE.test(qemuMessages))
    return ['KVM_UNUSABLE', 'KVM is unusable on this server'];
  if (/Failed to get (shared )?"[^"]+" lock/.test(qemuMessages))
    return ['IMAGE_LOCKED', 'an image of this session is in use by another virtual machine'];
  if (GUEST_OUT_OF_MEMORY.test(console)) return ['OUT_OF_MEMORY', memory];
  if (console.includes('Kernel panic - not syncing')) return ['KERNEL_PANIC', "the appliance's kernel panicked"];
  if (exit === 'timeout') return ['LAUNCH_TIMEOUT', 'the appliance did not come up in time'];
  if (exit.signal === 'SIGKILL')
    return ['QEMU_FAILED', 'qemu was killed while the appliance started; the host may be out of memory'];
  if (exit.signal !== undefined)
    return ['QEMU_FAILED', `qemu was terminated by ${exit.signal} while the appliance started`];
  if (exit.exitCode !== 0) return ['QEMU_FAILED', `qemu failed with exit code ${String(exit.exitCode)}`];
  // Without enough memory, a kernel stops silently, and a daemon crashes.
  if (memsizeMb < LITTLE_MEMORY_MB) return ['OUT_OF_MEMORY', memory];
  return ['LAUNCH_FAILED', 'the appliance ended before its daemon was ready'];
}

/** The end of untrusted text, in printable form, as at most `limit` bytes of UTF-8. */
export function quoteEnd(text: string, limit: number): string {
  // Colours and cursor movements are dropped; other unprintable characters are escaped.
  const plain = printable(text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '')).trim();
  const bytes = Buffer.from(plain, 'utf8');
  if (bytes.length <= limit) return plain;
  let start = bytes.length - limit + '...'.length;
  // Does not cut in the middle of a character.
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return `...${bytes.subarray(start).toString('utf8')}`;
}

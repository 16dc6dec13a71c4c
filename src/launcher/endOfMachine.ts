/**
 * Finds out why a running appliance ended, or a command in it was killed.
 *
 * The output of qemu and of the appliance is untrusted: it is quoted in printable form, truncated, and used for nothing
 * but the choice of the error's reason.
 */
import type { OwnReason } from '../common/errors.js';
import { quoteEnd } from './launchFailure.js';
import type { MachineExit } from './launcher.js';

/** Why an appliance ended by itself. */
export interface EndCause {
  readonly reason: OwnReason;
  /** A sentence without a full stop. */
  readonly what: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What is known about it. */
export interface EndedMachine {
  /** The end of the console's output. */
  readonly console: string;
  /** undefined: qemu has not exited. */
  readonly exit: MachineExit | undefined;
  /** Memory of the appliance, MiB. */
  readonly memsizeMb: number;
}

/** Bytes of a line that a message quotes. */
const LINE_QUOTE = 200;

const PANIC = /Kernel panic - not syncing: ([^\r\n]*)/;
/** A panic for want of memory, as in the kernel's mm/oom_kill.c. */
const MEMORY_PANIC = /^(Out of memory|System is deadlocked on memory)/;
/** The kernel's mm/oom_kill.c, for a system that has too little memory. */
const KILLED_PROCESS = /Out of memory: Killed process \d+ \(([^)\r\n]*)\)/g;
/** The appliance ends when the daemon does. */
const DAEMON = 'guestfsd';

/** Why a machine ended that nobody has asked to; undefined: nothing shows it. */
export function causeOfEnd({ console, exit, memsizeMb }: EndedMachine): EndCause | undefined {
  const panic = PANIC.exec(console)?.[1];
  const killed = [...console.matchAll(KILLED_PROCESS)].map(([, name = '']) => name);
  if (
    (panic !== undefined && (MEMORY_PANIC.test(panic) || killed.length > 0)) ||
    // The kernel limits the length of names.
    killed.some((name) => name !== '' && DAEMON.startsWith(name))
  )
    return {
      reason: 'OUT_OF_MEMORY',
      what: `the appliance has run out of its memory of ${memsizeMb} MiB and ended; give the session a larger memsize`,
      metadata: { memsize: String(memsizeMb) },
    };
  if (panic !== undefined)
    return {
      reason: 'KERNEL_PANIC',
      what: `the appliance's kernel panicked (${quoteEnd(panic, LINE_QUOTE)}); GetLog has its console output`,
      metadata: {},
    };
  if (exit?.signal !== undefined)
    return {
      reason: 'OUTCOME_UNKNOWN',
      what: `qemu was terminated by ${exit.signal}${exit.signal === 'SIGKILL' ? '; the host may be out of memory' : ''}`,
      metadata: { signal: exit.signal },
    };
  if (exit?.exitCode === undefined || exit.exitCode === 0) return undefined;
  const output = quoteEnd(exit.qemuMessages.trim().split('\n').at(-1) ?? '', LINE_QUOTE);
  return {
    reason: 'OUTCOME_UNKNOWN',
    what: `qemu exited with exit code ${exit.exitCode}${output === '' ? '' : ` (${output})`}`,
    metadata: {},
  };
}

/** The name of the last process that the appliance's kernel has killed because memory ran out. */
export function killedForMemory(console: string): string | undefined {
  const name = [...console.matchAll(KILLED_PROCESS)].at(-1)?.[1];
  return name === undefined ? undefined : quoteEnd(name, LINE_QUOTE);
}

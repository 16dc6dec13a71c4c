/**
 * Boots a kernel under KVM and waits for its first line.
 *
 * That the device opens says little: under another hypervisor qemu may abort on a
 * register which that hypervisor does not let it set, or the appliance may hang
 * before it says anything. So the kernel of an appliance is started as sessions
 * start it, by the same kind of user, on the same machine and processor.
 */
import { open } from 'node:fs/promises';
import type { Logger } from '../common/logger.js';
import { inTime } from '../common/waiting.js';
import { addBase, addConsole } from '../qemu/applianceMachine.js';
import { hostArchitecture } from '../qemu/arch.js';
import { openForEverybody } from '../qemu/plainFile.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import { quoteEnd } from './launchFailure.js';
import { startMachine } from './startMachine.js';

/** What is booted. */
export interface BootRequest {
  /** Absolute path. */
  readonly qemuBinary: string;
  /** Kernel of an appliance. */
  readonly kernelPath: string;
  readonly temporaryDirectory: string;
  /** Groups which let qemu's user open the device. */
  readonly groups: readonly number[];
}

/** What came out. */
export interface BootOutcome {
  readonly usable: boolean;
  /** Why not, as the end of a sentence. */
  readonly reason: string;
  /** Nothing was heard in time, which a busy host can cause too. */
  readonly hang: boolean;
}

/** Rejects when the test itself cannot be made. */
export type BootTest = (request: BootRequest) => Promise<BootOutcome>;

/** An appliance speaks within a second; with the rest of the test this stays under 5 s. */
const LIMIT_MS = 4000;

/** Enough for a kernel to say who it is. */
const MEMORY_MB = 256;

const FIRST_LINE = /Linux version /;
const CONSOLE_LIMIT = 64 * 1024;

/** Makes the test. */
export function createKvmBootTest(users: QemuUsers, logger: Logger, limitMs = LIMIT_MS): BootTest {
  return async (request) => {
    let heard = '';
    let speaks = (): void => undefined;
    const spoke = new Promise<'speaks'>((resolve) => {
      speaks = () => resolve('speaks');
    });
    const { qemu, undo } = await startMachine({
      ...{ logger, users, groups: request.groups },
      ...{ accelerator: 'kvm', memsizeMb: MEMORY_MB, network: false },
      qemuBinary: request.qemuBinary,
      temporaryDirectory: request.temporaryDirectory,
      compose: async (line, { runDirectory, otherUser, closeOnceStarted }) => {
        const file = await open(request.kernelPath, 'r');
        closeOnceStarted('kernel', file);
        const kernel = await openForEverybody(file, runDirectory.path, 'kernel', otherUser);
        closeOnceStarted('copy of the kernel', kernel);
        const architecture = hostArchitecture();
        addBase(line, { architecture, accelerator: 'kvm', memsizeMb: MEMORY_MB, smp: 1 });
        addConsole(line);
        line
          .option('kernel', line.addPlainFile(kernel.handle))
          .option('append', `${architecture.console} ${architecture.earlyConsole} panic=1`);
      },
      onConsole: (bytes) => {
        heard = (heard + bytes.toString('latin1')).slice(-CONSOLE_LIMIT);
        if (FIRST_LINE.test(heard)) speaks();
      },
    });
    try {
      const outcome = await inTime(limitMs, 'late' as const, Promise.race([spoke, qemu.exited]));
      if (outcome === 'speaks') return { usable: true, reason: '', hang: false };
      if (outcome === 'late')
        return { usable: false, reason: `the appliance says nothing within ${limitMs / 1000} s`, hang: true };
      const how = outcome.signal === undefined ? `exit code ${String(outcome.exitCode)}` : outcome.signal;
      return { usable: false, reason: `qemu ends with ${how}: ${quoteEnd(outcome.qemuMessages, 400)}`, hang: false };
    } finally {
      await undo.run();
    }
  };
}

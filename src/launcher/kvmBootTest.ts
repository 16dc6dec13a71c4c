/**
 * Boots a kernel under KVM and waits for the first line on its console.
 *
 * Being able to open the device proves little: under nested virtualization, qemu
 * may abort on a register that the outer hypervisor does not let it set, or the
 * appliance may hang before it prints anything. So an appliance's kernel is booted
 * in the same way as for a session: as the same kind of user, with the same machine
 * type and processor model.
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
  /** Groups that permit qemu's user to open the device. */
  readonly groups: readonly number[];
}

/** Result of the test. */
export interface BootOutcome {
  readonly usable: boolean;
  /** Why not, as the end of a sentence. */
  readonly reason: string;
  /** The console stayed silent, which an overloaded host can also cause. */
  readonly hang: boolean;
}

/** Rejects if the test itself cannot be run. */
export type BootTest = (request: BootRequest) => Promise<BootOutcome>;

/** An appliance prints its first line within a second; the entire test takes less than 5 s. */
const LIMIT_MS = 4000;

/** Enough for a kernel to print its version. */
const MEMORY_MB = 256;

const FIRST_LINE = /Linux version /;
const CONSOLE_LIMIT = 64 * 1024;

/** Creates the test. */
export function createKvmBootTest(users: QemuUsers, logger: Logger, limitMs = LIMIT_MS): BootTest {
  return async (request) => {
    let output = '';
    let reportBooted = (): void => undefined;
    const booted = new Promise<'booted'>((resolve) => {
      reportBooted = () => resolve('booted');
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
        output = (output + bytes.toString('latin1')).slice(-CONSOLE_LIMIT);
        if (FIRST_LINE.test(output)) reportBooted();
      },
    });
    try {
      const outcome = await inTime(limitMs, 'late' as const, Promise.race([booted, qemu.exited]));
      if (outcome === 'booted') return { usable: true, reason: '', hang: false };
      if (outcome === 'late')
        return { usable: false, reason: `the kernel printed nothing within ${limitMs / 1000} s`, hang: true };
      const how = outcome.signal === undefined ? `exit code ${String(outcome.exitCode)}` : outcome.signal;
      return { usable: false, reason: `qemu ended with ${how}: ${quoteEnd(outcome.qemuMessages, 400)}`, hang: false };
    } finally {
      await undo.run();
    }
  };
}

/** Connects to the monitor of a newly started qemu. */
import { GuestfsError } from '../common/errors.js';
import type { PreparedDrives } from '../images/prepareDrives.js';
import type { Accelerator } from '../qemu/accelerator.js';
import type { QemuProcess } from '../qemu/qemuProcess.js';
import { QmpClient } from '../qemu/qmpClient.js';
import { requireGivenNodesOnly } from './checkNodes.js';
import { explainLaunchFailure } from './launchFailure.js';

/** What is known about a machine whose qemu may fail. */
export interface MonitoredMachine {
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
}

/** How long a qemu whose monitor does not answer may take to exit, milliseconds. */
const END_MS = 1000;

/**
 * Waits for the QMP greeting, which qemu sends once it has opened all its files and created all its devices;
 * before that, it reports errors on standard error and exits. Then checks what it has opened.
 * @throws GuestfsError with that error, also if qemu ends during the check; IMAGE_UNUSABLE as
 *   {@link requireGivenNodesOnly}; or the reason of `signal`
 */
export async function connectMonitor(
  qemu: QemuProcess,
  { accelerator, memsizeMb }: MonitoredMachine,
  drives: Pick<PreparedDrives, 'explain'> | undefined,
  signal: AbortSignal,
): Promise<QmpClient> {
  try {
    const monitor = await QmpClient.connect(qemu.monitor, signal);
    if (drives !== undefined) await requireGivenNodesOnly(monitor, signal);
    return monitor;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof GuestfsError) throw error;
    const exit = await qemu.stop(END_MS);
    throw explainLaunchFailure({
      ...{ exit, qemuMessages: exit.qemuMessages, console: '', accelerator, memsizeMb },
      explainDrives: (messages) => drives?.explain(messages),
    });
  }
}

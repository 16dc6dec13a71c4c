/** Connects to the monitor of a newly started qemu. */
import type { PreparedDrives } from '../images/prepareDrives.js';
import type { Accelerator } from '../qemu/accelerator.js';
import type { QemuProcess } from '../qemu/qemuProcess.js';
import { QmpClient } from '../qemu/qmpClient.js';
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
 * before that, it reports errors on standard error and exits.
 * @throws GuestfsError with that error, or the reason of `signal`
 */
export async function connectMonitor(
  qemu: QemuProcess,
  { accelerator, memsizeMb }: MonitoredMachine,
  drives: Pick<PreparedDrives, 'explain'> | undefined,
  signal: AbortSignal,
): Promise<QmpClient> {
  try {
    return await QmpClient.connect(qemu.monitor, signal);
  } catch {
    signal.throwIfAborted();
    const exit = await qemu.stop(END_MS);
    throw explainLaunchFailure({
      ...{ exit, qemuMessages: exit.qemuMessages, console: '', accelerator, memsizeMb },
      explainDrives: (messages) => drives?.explain(messages),
    });
  }
}

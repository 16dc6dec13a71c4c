/** Wraps a running qemu and its resources as the {@link Machine} that the rest of the server uses. */
import type { GuestfsError } from '../common/errors.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { Accelerator } from '../qemu/accelerator.js';
import { syncKernel } from '../qemu/kernelSync.js';
import type { QemuProcess } from '../qemu/qemuProcess.js';
import type { QmpClient } from '../qemu/qmpClient.js';
import { explainLaunchFailure } from './launchFailure.js';
import type { LaunchKind, LaunchTimings, Machine, MachineDrives, MachineExit, MachinePulse } from './launcher.js';
import type { Undo } from './undo.js';

/** How long qemu may take to flush its data before it is killed. */
const DEFAULT_GRACE_MS = 10_000;

/** Facts about a machine in addition to its process. */
export interface MachineFacts {
  readonly accelerator: Accelerator;
  readonly launchKind: LaunchKind;
  readonly timings: LaunchTimings;
  readonly daemonVersion: string | undefined;
  readonly connection?: DaemonConnection;
  readonly memsizeMb: number;
  readonly afterBoot?: string | undefined;
  readonly drives: MachineDrives;
  readonly monitor: Pick<QmpClient, 'execute' | 'lastAnswer'>;
  readonly explainDrives: (qemuMessages: string) => GuestfsError | undefined;
}

/** States of a machine (RunState in qemu's qapi/run-state.json) from which it does not return by itself. */
const STOPPED = new Set(['internal-error', 'io-error', 'guest-panicked', 'watchdog']);

/** The pulse of the machine behind a monitor. */
export function pulseOf(monitor: MachineFacts['monitor']): MachinePulse {
  return {
    lastAnswer: () => monitor.lastAnswer,
    ask: async () => {
      const { status } = (await monitor.execute('query-status')) as { readonly status?: string };
      if (status !== undefined && STOPPED.has(status)) throw new Error(`its machine is in the state ${status}`);
    },
  };
}

/** Creates a machine; `undo` runs as soon as qemu has exited, whatever the cause. */
export function createMachine(process: QemuProcess, facts: MachineFacts, undo: Undo): Machine {
  const gone = process.exited.then(() => undo.run());
  const { accelerator, launchKind, timings, daemonVersion, drives } = facts;
  return {
    pid: process.pid,
    channel: process.daemon,
    connection: facts.connection,
    accelerator,
    launchKind,
    timings,
    daemonVersion,
    afterBoot: facts.afterBoot,
    drives,
    pulse: pulseOf(facts.monitor),
    exited: process.exited,
    syncKernel: (limitMs) =>
      syncKernel({ monitor: facts.monitor, console: process.console, gone: process.exited }, limitMs).catch(
        () => false,
      ),
    stop: async (graceMs = DEFAULT_GRACE_MS) => {
      const exit = await process.stop(graceMs);
      await gone;
      return exit;
    },
    explainFailure: (consoleTail: string, exit: MachineExit | 'timeout') =>
      explainLaunchFailure({
        exit,
        qemuMessages: exit === 'timeout' ? process.messages() : exit.qemuMessages,
        console: consoleTail,
        accelerator,
        memsizeMb: facts.memsizeMb,
        explainDrives: facts.explainDrives,
      }),
  };
}

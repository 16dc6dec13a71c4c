/**
 * Starts a qemu: the one way in which this server does it. In this order, and undone in reverse when a later step fails:
 * 1. a user without rights, when the server is root;
 * 2. a private run directory;
 * 3. the command line, and the files that go with it;
 * 4. the process, recorded in the run directory;
 * 5. its monitor, where it has one ({@link startMonitoredMachine}).
 *
 * What differs is stated by the {@link MachinePlan}:
 * - a cold boot has drives, and a monitor that takes files later;
 * - a clone has these too, and the state and memory of its template;
 * - a template that is made has no drives, and memory in a file;
 * - the test of KVM has a kernel and a console, and no monitor.
 */
import { open, type FileHandle } from 'node:fs/promises';
import type { Logger } from '../common/logger.js';
import { createRunDirectory, type RunDirectory } from '../common/tempDir.js';
import type { PreparedDrives } from '../images/prepareDrives.js';
import type { Accelerator } from '../qemu/accelerator.js';
import { QemuCommandLine, type QemuCommand } from '../qemu/commandLine.js';
import { startQemu, type QemuProcess } from '../qemu/qemuProcess.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import type { QmpClient } from '../qemu/qmpClient.js';
import { connectMonitor } from './monitor.js';
import { Undo } from './undo.js';

/** Where a command line is composed. */
export interface MachineSite {
  readonly runDirectory: RunDirectory;
  /** qemu runs as another user than the server. */
  readonly otherUser: boolean;
  /** Takes what is to be given back when the machine has ended, or is not started. */
  readonly undo: Undo;
  /** Closes a file when qemu has been started with it, or is not started. It may be closed twice. */
  readonly closeOnceStarted: (what: string, file: { close(): Promise<void> }) => void;
}

/** What is to be started. */
export interface MachinePlan<Parts> {
  readonly logger: Logger;
  readonly users: QemuUsers;
  readonly temporaryDirectory: string;
  /** Absolute path. */
  readonly qemuBinary: string;
  /** Groups that qemu's user needs besides its own. */
  readonly groups: readonly number[];
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
  /** It gets the host's network. */
  readonly network: boolean;
  /** Puts the machine on the command line. */
  readonly compose: (line: QemuCommandLine, site: MachineSite) => Promise<Parts>;
  /** Told the command before it is started. */
  readonly onCommand?: (command: QemuCommand) => void;
  /** Console and qemu's messages, as they come. */
  readonly onConsole: (bytes: Buffer) => void;
  /** Aborting stops the start and leaves nothing behind. */
  readonly signal?: AbortSignal;
}

/** A started machine, and all that it holds: to be given back by `undo`, which also ends it. */
export interface StartedMachine<Parts> {
  /** What `compose` returned. */
  readonly parts: Parts;
  readonly qemu: QemuProcess;
  readonly runDirectory: RunDirectory;
  /** The run directory, open. */
  readonly directory: FileHandle;
  /** Number of the user that it runs as; undefined: the server's. */
  readonly uid: number | undefined;
  readonly undo: Undo;
}

/**
 * Starts a machine.
 * @throws what `compose` throws, GuestfsError of a qemu that cannot be started, or the reason of the signal; nothing is left then
 */
export async function startMachine<Parts>(plan: MachinePlan<Parts>): Promise<StartedMachine<Parts>> {
  const undo = new Undo(plan.logger);
  const { signal } = plan;
  const started: { close(): Promise<void> }[] = [];
  try {
    const user = await plan.users.acquire();
    if (user !== undefined) undo.add('user', () => user.release());
    const runDirectory = await createRunDirectory(plan.temporaryDirectory, user);
    undo.add('run directory', () => runDirectory.remove());
    const directory = await open(runDirectory.path, 'r');
    undo.add('descriptor of the run directory', () => directory.close());

    const line = new QemuCommandLine(plan.qemuBinary);
    const parts = await plan.compose(line, {
      ...{ runDirectory, undo, otherUser: user !== undefined },
      closeOnceStarted: (what, file) => {
        undo.add(what, () => file.close());
        started.push(file);
      },
    });
    signal?.throwIfAborted();

    const command = line.build();
    plan.onCommand?.(command);
    const qemu = await startQemu(command, {
      user: user && { uid: user.uid, gid: user.gid, groups: plan.groups },
      runDirectory: runDirectory.path,
      memsizeMb: plan.memsizeMb,
      kvm: plan.accelerator === 'kvm',
      network: plan.network,
      onConsole: plan.onConsole,
    });
    undo.add('qemu', () => qemu.stop(0));
    await runDirectory.recordChild(qemu.pid);
    await Promise.all(started.map((file) => file.close()));
    return { parts, qemu, runDirectory, directory, uid: user?.uid, undo };
  } catch (error) {
    await undo.run();
    // What failed may have failed because of the abort.
    signal?.throwIfAborted();
    throw error;
  }
}

/** What is to be started, and explained when its monitor does not answer. */
export interface MonitoredPlan<Parts> extends MachinePlan<Parts> {
  readonly signal: AbortSignal;
}

/**
 * Starts a machine and waits for its monitor: qemu has opened all its files and made all its devices then.
 * @throws as {@link startMachine} does, and GuestfsError saying what qemu did not like
 */
export async function startMonitoredMachine<Parts extends { readonly drives: PreparedDrives | undefined }>(
  plan: MonitoredPlan<Parts>,
): Promise<StartedMachine<Parts> & { readonly monitor: QmpClient }> {
  const machine = await startMachine(plan);
  const { drives } = machine.parts;
  try {
    const monitor = await connectMonitor(machine.qemu, plan, drives, plan.signal);
    // An image is free again when qemu ends only if nobody else holds it open.
    await drives?.dispose();
    return { ...machine, monitor };
  } catch (error) {
    await machine.undo.run();
    plan.signal.throwIfAborted();
    throw error;
  }
}

/**
 * Starts qemu; no other code in the server does. If a step fails, the earlier ones are undone in reverse order:
 * 1. an unprivileged user, if the server is root;
 * 2. a private run directory;
 * 3. the process that is its network, if it has one, and the command line, and the files that it refers to;
 * 4. a cgroup, where one can be made;
 * 5. the process, recorded in the run directory;
 * 6. its monitor, if it has one ({@link startMonitoredMachine}).
 *
 * The {@link MachinePlan} describes the differences:
 * - a cold boot has drives, and a second monitor that accepts files later;
 * - a clone has these too, and the state and memory of its template;
 * - a machine that becomes a template has no drives, and its memory in a file;
 * - the KVM boot test has a kernel and a console, and no monitor.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { descriptors } from '../common/descriptors.js';
import type { Logger } from '../common/logger.js';
import { asPart } from '../common/spans.js';
import { createRunDirectory, type RunDirectory } from '../common/tempDir.js';
import { ImageClaims } from '../images/imageUses.js';
import type { PreparedDrives } from '../images/prepareDrives.js';
import { createCgroup } from '../jail/cgroups.js';
import type { Accelerator } from '../qemu/accelerator.js';
import { QemuCommandLine, type QemuCommand } from '../qemu/commandLine.js';
import { cgroupLimits } from '../qemu/qemuJail.js';
import { startQemu, type QemuProcess } from '../qemu/qemuProcess.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import type { QmpClient } from '../qemu/qmpClient.js';
import { startGuestNetwork } from './guestNetwork.js';
import { connectMonitor } from './monitor.js';
import { Undo } from './undo.js';

/** Descriptors that are open at the same time while a machine without drives is started. */
const DESCRIPTORS = 40;

/** The surroundings in which a command line is composed. */
export interface MachineSite {
  readonly runDirectory: RunDirectory;
  /** Whether qemu runs as a different user from the server. */
  readonly otherUser: boolean;
  /** Where the guest's network is; undefined: there is none, or it is qemu's own. */
  readonly guestNetwork: { readonly fd: number } | undefined;
  /** Collects the claims of its drives; released when qemu has exited. */
  readonly claims: ImageClaims;
  /** Collects what has to be released when the machine has exited or failed to start. */
  readonly undo: Undo;
  /** Closes a file once qemu has been started with it or failed to start. It may be closed twice. */
  readonly closeOnceStarted: (what: string, file: { close(): Promise<void> }) => void;
}

/** What to start. */
export interface MachinePlan<Parts> {
  readonly logger: Logger;
  readonly users: QemuUsers;
  readonly temporaryDirectory: string;
  /** Absolute path. */
  readonly qemuBinary: string;
  /** Groups that qemu's user needs in addition to its own. */
  readonly groups: readonly number[];
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
  /** qemu itself gets the host's network. */
  readonly network: boolean;
  /** It becomes a template: no client's drives are attached to it. */
  readonly savesState?: boolean;
  /** The guest has a network; false when left out. */
  readonly guestNetwork?: boolean;
  /** Adds the machine to the command line. */
  readonly compose: (line: QemuCommandLine, site: MachineSite) => Promise<Parts>;
  /** Receives the command before it is started. */
  readonly onCommand?: (command: QemuCommand) => void;
  /** Receives the output of the console and of qemu. */
  readonly onConsole: (bytes: Buffer) => void;
  /** Aborting stops the start and leaves nothing behind. */
  readonly signal?: AbortSignal;
}

/** A started machine and its resources, which `undo` releases after ending it. */
export interface StartedMachine<Parts> {
  /** What `compose` returned. */
  readonly parts: Parts;
  readonly qemu: QemuProcess;
  readonly runDirectory: RunDirectory;
  /** The run directory, open. */
  readonly directory: FileHandle;
  /** The claims of its drives; `undo` releases them once qemu has exited. */
  readonly claims: ImageClaims;
  /** The UID it runs as; undefined: the server's. */
  readonly uid: number | undefined;
  readonly undo: Undo;
}

/**
 * Starts a machine.
 * @throws what `compose` throws, GuestfsError if qemu cannot be started, or the reason of the signal; nothing is left behind then
 */
export function startMachine<Parts>(plan: MachinePlan<Parts>): Promise<StartedMachine<Parts>> {
  return descriptors.while(DESCRIPTORS, () => start(plan));
}

async function start<Parts>(plan: MachinePlan<Parts>): Promise<StartedMachine<Parts>> {
  const undo = new Undo(plan.logger);
  const { signal } = plan;
  const started: { close(): Promise<void> }[] = [];
  try {
    const claims = new ImageClaims();
    const user = await plan.users.acquire();
    let filesRemain = false;
    if (user !== undefined)
      undo.add('user', async () => {
        if (filesRemain) throw new Error(`user ID ${user.uid} is not used again: files of it remain`);
        await user.release();
      });
    const runDirectory = await createRunDirectory(plan.temporaryDirectory, user);
    undo.add('run directory', async () => {
      filesRemain = true;
      await runDirectory.remove();
      filesRemain = false;
    });
    const directory = await open(runDirectory.path, 'r');
    undo.add('descriptor of the run directory', () => directory.close());
    undo.add('claims of images', () => claims.releaseAll());

    const guest = plan.guestNetwork === true ? await startGuestNetwork(user, plan.logger) : undefined;
    if (guest !== undefined) {
      undo.add('network', () => guest.stop());
      started.push(guest);
    }

    const line = new QemuCommandLine(plan.qemuBinary);
    const parts = await plan.compose(line, {
      ...{ runDirectory, claims, undo, otherUser: user !== undefined, guestNetwork: guest },
      closeOnceStarted: (what, file) => {
        undo.add(what, () => file.close());
        started.push(file);
      },
    });
    signal?.throwIfAborted();

    const cgroup = await createCgroup(cgroupLimits(plan.memsizeMb));
    if (cgroup !== undefined) undo.add('cgroup', () => cgroup.remove());
    const command = line.build();
    plan.onCommand?.(command);
    const qemu = await startQemu(command, {
      user: user && { uid: user.uid, gid: user.gid, groups: plan.groups },
      runDirectory: runDirectory.path,
      memsizeMb: plan.memsizeMb,
      kvm: plan.accelerator === 'kvm',
      savesState: plan.savesState ?? false,
      network: plan.network ? 'host' : plan.guestNetwork === true && guest === undefined ? 'guest' : 'none',
      cgroup: cgroup?.entries ?? [],
      onConsole: plan.onConsole,
    });
    undo.add('qemu', () => qemu.stop(0));
    await runDirectory.recordChild(qemu.pid);
    await Promise.all(started.map((file) => file.close()));
    return { parts, qemu, runDirectory, directory, claims, uid: user?.uid, undo };
  } catch (error) {
    await undo.run();
    // The failure may be a consequence of the abort.
    signal?.throwIfAborted();
    throw error;
  }
}

/** Plan of a machine with a monitor, and the means to explain why its monitor does not answer. */
export interface MonitoredPlan<Parts> extends MachinePlan<Parts> {
  readonly signal: AbortSignal;
}

/** A started machine and its monitor. */
export type MonitoredMachine<Parts> = StartedMachine<Parts> & { readonly monitor: QmpClient };

/**
 * Starts a machine and waits for its monitor, by which time qemu has opened all its files and created all its devices.
 * @throws as {@link startMachine} does, and GuestfsError with the error that qemu reported
 */
export function startMonitoredMachine<Parts extends { readonly drives: PreparedDrives | undefined }>(
  plan: MonitoredPlan<Parts>,
): Promise<MonitoredMachine<Parts>> {
  return asPart(plan.signal, { name: 'qemu' }, () => startMonitored(plan));
}

async function startMonitored<Parts extends { readonly drives: PreparedDrives | undefined }>(
  plan: MonitoredPlan<Parts>,
): Promise<MonitoredMachine<Parts>> {
  const machine = await startMachine(plan);
  const { drives } = machine.parts;
  try {
    const monitor = await connectMonitor(machine.qemu, plan, drives, plan.signal);
    // Closed here, so that qemu's exit alone releases the images and their locks.
    await drives?.dispose();
    return { ...machine, monitor };
  } catch (error) {
    await machine.undo.run();
    plan.signal.throwIfAborted();
    throw error;
  }
}

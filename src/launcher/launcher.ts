/**
 * The interface between sessions and machines: a launcher starts one qemu with one
 * appliance and returns a {@link Machine}. It knows nothing of sessions; waiting for
 * the daemon of a booting appliance is up to the session.
 */
import type { Duplex } from 'node:stream';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Drive } from '../images/drive.js';
import type { GuestfsError } from '../common/errors.js';
import type { ImageChange } from '../images/watchedImage.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { Accelerator, AcceleratorChoice } from '../qemu/accelerator.js';

export type { Accelerator, AcceleratorChoice } from '../qemu/accelerator.js';

/** How a machine was started: booted, or cloned from a saved one. */
export type LaunchKind = 'cold' | 'template';

/** The complete configuration of a machine. */
export interface LaunchConfig {
  /** In order: the first is `/dev/sda`. */
  readonly drives: readonly Drive[];
  /** Memory of the appliance, MiB. */
  readonly memsizeMb: number;
  /** Virtual CPUs. */
  readonly smp: number;
  /** User-mode network for the appliance. */
  readonly network: boolean;
  /** SELinux enabled in the appliance's kernel. */
  readonly selinux: boolean;
  /** Verbose output from the daemon and the kernel. */
  readonly verbose: boolean;
  readonly accelerator: AcceleratorChoice;
  /** qemu binary; undefined: the host architecture's, found on the PATH. */
  readonly qemuBinary: string | undefined;
  /** Search path for appliances, colon-separated, as `LIBGUESTFS_PATH`. */
  readonly appliancePath: string;
  /** Additional kernel arguments. */
  readonly append: string | undefined;
  /** ID of the session, in logs and in the name of qemu's process. */
  readonly session: string;
  /** The client's name for the handle, put on the kernel command line in a cold boot; empty: none. */
  readonly identifier: string;
  /** Additional `-name value` arguments of qemu (`config` action). */
  readonly extraQemuArguments: readonly (readonly [string, string | undefined])[];
  /** Parent of the private run directory. */
  readonly temporaryDirectory: string;
  /** Limits what may be written to files of the host; without it, any amount. */
  readonly disk?: DiskQuota | undefined;
  /** Directory for caches (supermin appliance, result of the KVM boot test). */
  readonly cacheDirectory: string;
}

/** Duration of each step of a launch, milliseconds. */
export interface LaunchTimings {
  /** Finding the appliance (building it, for supermin) and choosing the accelerator. */
  readonly prepareMs: number;
  /** Opening the drives and creating overlays. */
  readonly drivesMs: number;
  /** Starting qemu until its monitor answers. */
  readonly qemuMs: number;
}

export interface LaunchOptions {
  /** Aborting stops the launch and leaves nothing behind. */
  readonly signal: AbortSignal;
  /** Receives the output of the console and of qemu; untrusted bytes. */
  readonly onConsole: (bytes: Buffer) => void;
  /** Receives the launcher's decisions and steps (`library`), and its warnings. */
  readonly onMessage?: (kind: 'library' | 'warning', text: string) => void;
}

/** How a machine ended. */
export interface MachineExit {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** The end of qemu's own output on standard error. */
  readonly qemuMessages: string;
}

/** Writes and flushes of a drive that have failed on the host. */
export interface FailedWrites {
  readonly count: number;
  /** Whether any of them failed because there was no space left. */
  readonly noSpace: boolean;
}

/** What has happened on the host to an image while it was attached. */
export interface ChangedImage {
  readonly change: ImageChange;
  /** How messages refer to the file: the image itself, or one that it refers to. */
  readonly subject: string;
}

/** Why a drive may not contain what was written to it, or may not have returned what its image contained. */
export type DriveFault = FailedWrites | ChangedImage;

/** The drives of a running machine, numbered like its disks: 0 is `/dev/sda`. Not for concurrent use, nor while a call is in progress. */
export interface MachineDrives {
  /**
   * Attaches a drive, and returns its number: the lowest free one.
   * @param connection to the daemon
   * @param signal cancels only until the drive starts being attached
   * @throws GuestfsError explaining why the drive cannot be attached; nothing is attached then
   */
  add(connection: DaemonConnection, drive: Drive, signal: AbortSignal): Promise<number>;
  /**
   * Flushes and detaches a drive; its image is then released.
   * @returns what went wrong with it on the host, if anything
   * @throws GuestfsError `EBUSY` when the appliance still uses it; it stays attached then
   */
  remove(connection: DaemonConnection, index: number): Promise<DriveFault | undefined>;
  /**
   * The failed writes of each drive, by the drive's number; drives without failures are left out.
   * @throws Error if qemu does not answer
   */
  failedWrites(): Promise<ReadonlyMap<number, FailedWrites>>;
  /**
   * The images that were changed on the host by someone else, by the drive's number; others are left out.
   * @throws Error if qemu does not answer
   */
  changedImages(): Promise<ReadonlyMap<number, ChangedImage>>;
}

/** Shows whether qemu still works. */
export interface MachinePulse {
  /** When qemu last answered on its monitor, on the clock of `performance`. */
  lastAnswer(): number;
  /** Resolves when qemu answers; rejects if it answers that its machine has stopped, or if its monitor is closed. */
  ask(): Promise<void>;
}

/** A running qemu. */
export interface Machine {
  readonly pid: number;
  /** The virtio-serial channel; the daemon's first message is the launch flag. */
  readonly channel: Duplex;
  /** The connection over that channel, if the daemon is already up because the machine is a clone. */
  readonly connection: DaemonConnection | undefined;
  readonly accelerator: Accelerator;
  readonly launchKind: LaunchKind;
  readonly timings: LaunchTimings;
  /** Version of the daemon, if the appliance has a manifest that states it. */
  readonly daemonVersion: string | undefined;
  /** A script to run in the appliance once its daemon is up, before the first call. */
  readonly afterBoot?: string | undefined;
  readonly drives: MachineDrives;
  readonly pulse: MachinePulse;
  /** Resolves when qemu has exited; never rejects. */
  readonly exited: Promise<MachineExit>;
  /**
   * Makes the appliance's kernel write what it has in memory, and make its filesystems read-only, even if the daemon does
   * not react. Nothing can be done with the machine afterwards but to stop it.
   * @returns whether it did, within `limitMs` for each step; never rejects
   */
  syncKernel(limitMs: number): Promise<boolean>;
  /**
   * Ends qemu (SIGTERM, then SIGKILL after `graceMs`) and resolves when it has been
   * reaped, its images released and its run directory removed. Can be called twice.
   */
  stop(graceMs?: number): Promise<MachineExit>;
  /**
   * Explains a launch that failed after {@link Launcher.launch} returned, from the
   * end of the console's raw output and qemu's messages.
   */
  explainFailure(consoleTail: string, exit: MachineExit | 'timeout'): GuestfsError;
}

export interface Launcher {
  /**
   * Starts a machine.
   * @throws GuestfsError `APPLIANCE_MISSING`, `QEMU_MISSING`, `IMAGE_LOCKED`, `KVM_UNUSABLE`, `QEMU_FAILED`, ...
   */
  launch(config: LaunchConfig, options: LaunchOptions): Promise<Machine>;
}

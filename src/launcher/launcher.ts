/**
 * The seam between sessions and machines: a launcher starts one qemu with one
 * appliance and hands back a {@link Machine}. It knows no sessions; waiting for a
 * daemon that boots is the session's part.
 */
import type { Duplex } from 'node:stream';
import type { Drive } from '../images/drive.js';
import type { GuestfsError } from '../common/errors.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { Accelerator, AcceleratorChoice } from '../qemu/accelerator.js';

export type { Accelerator, AcceleratorChoice } from '../qemu/accelerator.js';

/** How a machine came up: booted, or cloned from a saved one. */
export type LaunchKind = 'cold' | 'template';

/** Everything a machine is made from. */
export interface LaunchConfig {
  /** In order: the first is `/dev/sda`. */
  readonly drives: readonly Drive[];
  /** Guest memory, MiB. */
  readonly memsizeMb: number;
  /** Virtual CPUs. */
  readonly smp: number;
  /** User-mode network for the appliance. */
  readonly network: boolean;
  /** SELinux enabled in the appliance's kernel. */
  readonly selinux: boolean;
  /** Daemon and kernel say all they do. */
  readonly verbose: boolean;
  readonly accelerator: AcceleratorChoice;
  /** qemu binary, or undefined for the one of the architecture on the PATH. */
  readonly qemuBinary: string | undefined;
  /** Where appliances are looked for, colon-separated, as `LIBGUESTFS_PATH`. */
  readonly appliancePath: string;
  /** More kernel arguments, or undefined. */
  readonly append: string | undefined;
  /** ID of the session, in logs and in the name of qemu's process. */
  readonly session: string;
  /** What the client calls the handle, in the kernel command line of an appliance that is booted; empty: nothing. */
  readonly identifier: string;
  /** More `-name value` arguments of qemu (`config` action). */
  readonly extraQemuArguments: readonly (readonly [string, string | undefined])[];
  /** Directory for the private run directory. */
  readonly temporaryDirectory: string;
  /** Directory for caches (supermin appliance, accelerator verdict). */
  readonly cacheDirectory: string;
}

/** Milliseconds that the steps of a launch took. */
export interface LaunchTimings {
  /** Appliance found (and built, for supermin), accelerator decided. */
  readonly prepareMs: number;
  /** Drives opened and overlays made. */
  readonly drivesMs: number;
  /** qemu started, its monitor answers. */
  readonly qemuMs: number;
}

export interface LaunchOptions {
  /** Aborting stops the launch and leaves nothing behind. */
  readonly signal: AbortSignal;
  /** Console and qemu's own messages, as they come; hostile bytes. */
  readonly onConsole: (bytes: Buffer) => void;
  /** What the launcher decides and does, and, as warnings, what is not as one would wish. */
  readonly onMessage?: (kind: 'library' | 'warning', text: string) => void;
}

/** How a machine ended. */
export interface MachineExit {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** The end of what qemu itself said on its standard error. */
  readonly qemuMessages: string;
}

/** The drives of a running machine, numbered as its disks are: 0 is `/dev/sda`. Used by one at a time, while no call is under way. */
export interface MachineDrives {
  /**
   * Attaches a drive, and returns its number: the lowest that is free.
   * @param connection to the daemon
   * @param signal ends this only while nothing has been attached
   * @throws GuestfsError what is wrong with the drive; nothing is attached then
   */
  add(connection: DaemonConnection, drive: Drive, signal: AbortSignal): Promise<number>;
  /**
   * Takes a drive away when all is written to it; its image is free then.
   * @returns how many writes and flushes of it the host has failed
   * @throws GuestfsError `EBUSY` when the appliance uses it; it stays then
   */
  remove(connection: DaemonConnection, index: number): Promise<number>;
  /**
   * How many writes and flushes of each drive the host has failed, by the drive's number; those without any are left out.
   * @throws Error when qemu does not answer
   */
  failedWrites(): Promise<ReadonlyMap<number, number>>;
}

/** A running qemu. */
export interface Machine {
  readonly pid: number;
  /** The virtio-serial channel; the daemon's first word is the launch flag. */
  readonly channel: Duplex;
  /** The conversation over it, when the daemon is up already: of a machine that was not booted. */
  readonly connection: DaemonConnection | undefined;
  readonly accelerator: Accelerator;
  readonly launchKind: LaunchKind;
  readonly timings: LaunchTimings;
  /** Version of the daemon as the appliance's manifest states it, when it has one. */
  readonly daemonVersion: string | undefined;
  readonly drives: MachineDrives;
  /** Resolves, never rejects, when qemu is gone. */
  readonly exited: Promise<MachineExit>;
  /**
   * Ends qemu (SIGTERM, then SIGKILL after `graceMs`) and resolves when it is
   * reaped, its images are free and its run directory is gone. Can be called twice.
   */
  stop(graceMs?: number): Promise<MachineExit>;
  /**
   * Explains a launch that failed after {@link Launcher.launch} returned, from the
   * console's end, as it came, and qemu's messages.
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

/**
 * The drives of a session, for the lifetime of one appliance: those to launch it with, and those added and removed
 * while it runs. The next appliance has a separate list, which late operations cannot affect.
 */
import { GuestfsError, messageOf } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Drive } from '../images/drive.js';
import type { FailedWrites, Machine } from '../launcher/launcher.js';
import { MAX_DRIVES } from '../qemu/limits.js';
import { deviceNameOf } from './deviceNames.js';
import type { RunningAppliance } from './runningAppliance.js';

export class SessionDrives {
  /** By number: 0 is /dev/sda. Removed drives leave their slots free. */
  #drives: (Drive | undefined)[] = [];
  /** How many are being attached to the running appliance. */
  #attaching = 0;

  /** The attached drives, in order. */
  get all(): readonly Drive[] {
    return this.#drives.filter((drive) => drive !== undefined);
  }

  /** How many drives are attached or being attached. */
  get used(): number {
    return this.all.length + this.#attaching;
  }

  /** One more than the largest number that any drive has had. */
  get numbers(): number {
    return this.#drives.length;
  }

  /** Names of the devices whose writes must reach an image. */
  get written(): readonly string[] {
    return this.#drives.flatMap((drive, index) => (drive !== undefined && isKept(drive) ? [deviceNameOf(index)] : []));
  }

  /** Whether there is a drive with this number: 0 is /dev/sda. */
  has(index: number): boolean {
    return this.#drives[index] !== undefined;
  }

  /**
   * Adds a drive for the launch.
   * @throws GuestfsError ENOSPC if there are already {@link MAX_DRIVES}, EEXIST if another one has its label
   */
  add(drive: Drive, action: string): void {
    this.#checkRoom(drive, action);
    this.#drives.push(drive);
  }

  /** Like {@link add}, for several drives: adds all of them or, if one cannot be added, none. */
  addAll(drives: readonly Drive[], action: string): void {
    const before = this.#drives.length;
    try {
      for (const drive of drives) this.add(drive, action);
    } catch (error) {
      this.#drives.length = before;
      throw error;
    }
  }

  /**
   * Removes a drive before the launch; those after it move up.
   * @throws GuestfsError ENOENT if there is none with this label
   */
  remove(label: string, action: string): void {
    this.#drives.splice(this.#find(label, action), 1);
  }

  /** Attaches a drive to the running appliance, under the lowest free number. */
  async attach(
    { machine, connection }: RunningAppliance,
    drive: Drive,
    action: string,
    signal: AbortSignal,
  ): Promise<void> {
    this.#checkRoom(drive, action);
    this.#attaching += 1;
    try {
      this.#drives[await machine.drives.add(connection, drive, signal)] = drive;
    } finally {
      this.#attaching -= 1;
    }
  }

  /**
   * Removes a drive from the running appliance, once all writes have reached it.
   * @throws GuestfsError ENOENT if there is none with this label, EBUSY if it is in use, EIO if writes to its
   *   image have failed: the drive is removed then, unless the appliance noticed the failure as well
   */
  async detach({ machine, connection }: RunningAppliance, label: string, action: string): Promise<void> {
    const index = this.#find(label, action);
    const drive = this.#drives[index];
    const failed = await machine.drives.remove(connection, index).catch(async (error: unknown) => {
      // The appliance may have noticed as well, but its error is less specific.
      if (error instanceof GuestfsError && error.reason === 'DAEMON_ERROR') await this.requireWritten(machine);
      throw error;
    });
    this.#drives[index] = undefined;
    throwUnlessWritten(drive, index, failed);
  }

  /**
   * @throws GuestfsError EIO or ENOSPC when writes to an image have failed on the host, which the appliance does not
   *   always notice; QEMU_FAILED if qemu does not report it
   */
  async requireWritten(machine: Machine): Promise<void> {
    if (this.written.length === 0) return;
    const failed = await machine.drives.failedWrites().catch((error: unknown) => {
      throw new GuestfsError(
        'QEMU_FAILED',
        `qemu does not report whether everything was written to the images: ${messageOf(error)}`,
        { cause: error },
      );
    });
    for (const [index, writes] of failed) throwUnlessWritten(this.#drives[index], index, writes);
  }

  #find(label: string, action: string): number {
    const index = this.#drives.findIndex((drive) => drive?.label === label);
    if (index === -1)
      throw new GuestfsError('ENOENT', `${action}: the session has no drive with the label ${printable(label)}`);
    return index;
  }

  #checkRoom(drive: Drive, action: string): void {
    if (this.all.length >= MAX_DRIVES) {
      throw new GuestfsError('ENOSPC', `${action}: a session has at most ${MAX_DRIVES} drives`, {
        metadata: { limit: String(MAX_DRIVES) },
      });
    }
    if (drive.label !== undefined && this.#drives.some((other) => other?.label === drive.label)) {
      throw new GuestfsError('EEXIST', `${action}: the label ${drive.label} is already in use by another drive`);
    }
  }
}

/** Whether what is written to a drive outlives the session. */
function isKept(drive: Drive): boolean {
  return !drive.readonly && drive.source.kind !== 'scratch';
}

/**
 * @throws GuestfsError EIO, or ENOSPC, when writes have failed, except for a drive that is discarded with the session
 *   anyway
 */
function throwUnlessWritten(drive: Drive | undefined, index: number, failed: FailedWrites | undefined): void {
  if (failed === undefined || drive === undefined || !isKept(drive)) return;
  const { count, noSpace } = failed;
  const device = deviceNameOf(index);
  const label = drive.label === undefined ? '' : ` (${drive.label})`;
  const why = noSpace ? ', which has no space left for its image' : '';
  throw new GuestfsError(
    noSpace ? 'ENOSPC' : 'EIO',
    `${count} writes to ${device}${label} failed on the server's host${why}: its image lacks some of the data that was written`,
    { metadata: { device, failed_writes: String(count) } },
  );
}

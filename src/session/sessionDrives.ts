/**
 * The drives of a session, for the lifetime of one appliance: those to launch it with, and those added and removed
 * while it runs. The next appliance has a separate list, which late operations cannot affect.
 */
import { GuestfsError, messageOf } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Drive } from '../images/drive.js';
import type { ImageChange } from '../images/watchedImage.js';
import type { ChangedImage, DriveFault, FailedWrites, Machine } from '../launcher/launcher.js';
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
   * @throws GuestfsError ENOENT if there is none with this label, EBUSY if it is in use; EIO or ENOSPC if writes to its
   *   image have failed, IMAGE_CHANGED: the drive is removed then, unless the appliance noticed the failure as well
   */
  async detach({ machine, connection }: RunningAppliance, label: string, action: string): Promise<void> {
    const index = this.#find(label, action);
    const drive = this.#drives[index];
    const fault = await machine.drives.remove(connection, index).catch(async (error: unknown) => {
      // The appliance may have noticed as well, but its error is less specific.
      if (error instanceof GuestfsError && error.reason === 'DAEMON_ERROR')
        await this.requireSound(machine, 'all drives');
      throw error;
    });
    this.#drives[index] = undefined;
    if (drive !== undefined && isKept(drive)) throwIfFaulty(drive, index, fault);
  }

  /**
   * Requires that the drives contain what was written to them, and that nobody has changed their images on the host.
   * @param whose writes count: drives that are discarded with the session matter only as long as it lasts
   * @throws GuestfsError EIO or ENOSPC when writes have failed on the host, which the appliance does not always notice;
   *   IMAGE_CHANGED; QEMU_FAILED if qemu does not report it
   */
  async requireSound(machine: Machine, whose: 'all drives' | 'kept drives'): Promise<void> {
    const reported = async <Value>(faults: Promise<Value>): Promise<Value> =>
      faults.catch((error: unknown) => {
        if (error instanceof GuestfsError) throw error;
        throw new GuestfsError(
          'QEMU_FAILED',
          `qemu does not report whether everything was written to the images: ${messageOf(error)}`,
          { cause: error },
        );
      });
    if (whose === 'all drives' || this.written.length > 0)
      for (const [index, writes] of await reported(machine.drives.failedWrites())) {
        const drive = this.#drives[index];
        if (drive !== undefined && (whose === 'all drives' || isKept(drive))) throwIfFaulty(drive, index, writes);
      }
    for (const [index, image] of await reported(machine.drives.changedImages())) {
      const drive = this.#drives[index];
      if (drive !== undefined) throwIfFaulty(drive, index, image);
    }
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

/** @throws GuestfsError EIO or ENOSPC for failed writes, IMAGE_CHANGED for a changed image */
function throwIfFaulty(drive: Drive, index: number, fault: DriveFault | undefined): void {
  if (fault === undefined) return;
  const device = deviceNameOf(index);
  const label = drive.label === undefined ? '' : ` (${drive.label})`;
  throw 'change' in fault
    ? imageChanged(fault, { device, name: `${device}${label}` })
    : writesFailed(drive, fault, { device, name: `${device}${label}` });
}

/** How an error refers to a drive. */
interface NamedDrive {
  readonly device: string;
  /** With its label. */
  readonly name: string;
}

function writesFailed(drive: Drive, { count, noSpace }: FailedWrites, { device, name }: NamedDrive): GuestfsError {
  const place = isKept(drive) ? 'its image' : 'the drive';
  const why = noSpace ? `, which has no space left for ${place}` : '';
  return new GuestfsError(
    noSpace ? 'ENOSPC' : 'EIO',
    `${count} writes to ${name} failed on the server's host${why}: ${place} lacks some of the data that was written`,
    { metadata: { device, failed_writes: String(count) } },
  );
}

/** What each change means for the session. */
const CONSEQUENCES: Readonly<Record<ImageChange, readonly [happened: string, consequence: string]>> = {
  truncated: ['truncated', 'data was lost, and zeros may have been read instead'],
  deleted: ['deleted', 'what was written to it is lost when the session ends'],
  replaced: ['replaced by another file', 'what was written to it is not in the file that now has its name'],
};

function imageChanged({ change, subject }: ChangedImage, { device, name }: NamedDrive): GuestfsError {
  const [happened, consequence] = CONSEQUENCES[change];
  return new GuestfsError(
    'IMAGE_CHANGED',
    `${subject} of ${name} was ${happened} on the server's host while it was attached: ${consequence}`,
    { metadata: { device, change } },
  );
}

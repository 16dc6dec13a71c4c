/** Attaches drives to a machine that runs, or stands still, by its monitor. */
import { messageOf } from '../../common/errors.js';
import type { PreparedDrive, PreparedDrives } from '../../images/prepareDrives.js';
import { driveProperties } from '../../qemu/applianceMachine.js';
import { QmpError, type QmpClient } from '../../qemu/qmpClient.js';
import { CloneFailed } from './restore.js';

/**
 * Adds a device for each drive, and its nodes unless the machine was started with them.
 * @throws GuestfsError what is wrong with a drive, CloneFailed
 */
export async function attachDrives(monitor: QmpClient, prepared: PreparedDrives, nodes: 'started with nodes' | 'add nodes', signal: AbortSignal): Promise<void> {
  const attach = async (drive: PreparedDrive, index: number): Promise<void> => {
    // Sent at once: qemu takes its commands in order.
    const commands = nodes === 'add nodes' ? drive.blockNodes.map((node) => monitor.execute('blockdev-add', node, signal)) : [];
    commands.push(monitor.execute('device_add', { driver: 'scsi-hd', ...definedOnly(driveProperties(drive, index)) }, signal));
    // The first that fails is the one that tells why; those after it fail because of it.
    const failed = (await Promise.allSettled(commands)).find((one) => one.status === 'rejected');
    if (failed === undefined) return;
    const { reason } = failed as { readonly reason: unknown };
    const known = reason instanceof QmpError ? prepared.explain(reason.description, drive) : undefined;
    // What nobody can explain, booting may: it comes to the same as a boot that fails, or goes on.
    throw known ?? new CloneFailed(messageOf(reason), { cause: reason });
  };
  await Promise.all(prepared.drives.map(attach));
}

function definedOnly(properties: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

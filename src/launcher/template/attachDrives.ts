/** Attaches drives to a machine that runs, or stands still, by its monitor. */
import type { PreparedDrive, PreparedDrives } from '../../images/prepareDrives.js';
import { driveProperties } from '../../qemu/applianceMachine.js';
import { QmpError, type QmpClient } from '../../qemu/qmpClient.js';

/**
 * Adds a device for each drive, and its nodes unless the machine was started with them.
 * @throws GuestfsError what is wrong with a drive
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
    throw reason instanceof QmpError ? prepared.explain(reason.description, drive) ?? reason : reason;
  };
  await Promise.all(prepared.drives.map(attach));
}

function definedOnly(properties: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

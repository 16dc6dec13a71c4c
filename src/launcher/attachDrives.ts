/** Attaches drives to a machine that runs, or stands still, by its monitor, and takes devices away. */
import { linkedAbort } from '../common/waiting.js';
import type { PreparedDrive, PreparedDrives } from '../images/prepareDrives.js';
import { driveProperties } from '../qemu/applianceMachine.js';
import { requireGivenNodesOnly } from './checkNodes.js';
import { QmpError, type QmpClient } from '../qemu/qmpClient.js';

/** Which drives, where, and with whose nodes. */
export interface Attachment {
  readonly prepared: PreparedDrives;
  /** Number of the first one's SCSI target. */
  readonly firstIndex: number;
  readonly nodes: 'started with nodes' | 'add nodes';
}

/**
 * Adds a device for each drive, and its nodes unless the machine was started with them.
 * @throws GuestfsError what is wrong with a drive; QmpError when nobody can tell; or the reason of `signal`
 */
export async function attachDrives(
  monitor: QmpClient,
  { prepared, firstIndex, nodes }: Attachment,
  signal: AbortSignal,
): Promise<void> {
  /** Sends the commands at once: qemu takes them in order. The first that fails is the one that says why. */
  const all = async (drive: PreparedDrive, commands: readonly Promise<unknown>[]): Promise<void> => {
    const failed = (await Promise.allSettled(commands)).find((one) => one.status === 'rejected');
    if (failed === undefined) return;
    const { reason } = failed as { readonly reason: unknown };
    throw (reason instanceof QmpError ? prepared.explain(reason.description, drive) : undefined) ?? reason;
  };
  const addNodes = (drive: PreparedDrive): Promise<void> =>
    all(drive, [
      ...drive.objects.map((object) => monitor.execute('object-add', object, signal)),
      ...drive.blockNodes.map((node) => monitor.execute('blockdev-add', node, signal)),
    ]);
  const addDevice = (drive: PreparedDrive, position: number): Promise<void> => {
    const properties = definedOnly(driveProperties(drive, firstIndex + position));
    return all(drive, [monitor.execute('device_add', { driver: 'scsi-hd', ...properties }, signal)]);
  };
  if (nodes === 'add nodes') {
    await Promise.all(prepared.drives.map(addNodes));
    await requireGivenNodesOnly(monitor, signal);
  }
  await Promise.all(prepared.drives.map(addDevice));
}

/**
 * Takes a device away; resolves when it is gone.
 * @throws QmpError, or the reason of `signal`
 */
export async function unplug(monitor: QmpClient, id: string, signal: AbortSignal): Promise<void> {
  const wait = linkedAbort([signal]);
  const gone = monitor.waitForEvent(
    ({ event, data }) => event === 'DEVICE_DELETED' && data['device'] === id,
    wait.signal,
  );
  gone.catch(() => undefined);
  try {
    await monitor.execute('device_del', { id }, signal);
    await gone;
  } finally {
    // Of a device that is not removed no event comes.
    wait.abort(new Error('no longer waited for'));
  }
}

function definedOnly(properties: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

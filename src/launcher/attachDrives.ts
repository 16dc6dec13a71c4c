/** Attaches drives to a running or paused machine through its monitor, and detaches devices. */
import { linkedAbort } from '../common/waiting.js';
import type { PreparedDrive, PreparedDrives } from '../images/prepareDrives.js';
import { driveProperties } from '../qemu/applianceMachine.js';
import type { FdSender } from '../qemu/fdSender.js';
import { requireGivenNodesOnly } from './checkNodes.js';
import { QmpError, type QmpClient } from '../qemu/qmpClient.js';

/** Which drives to attach, at which targets, and whether their block nodes exist already. */
export interface Attachment {
  readonly prepared: PreparedDrives;
  /** SCSI target of the first drive. */
  readonly firstIndex: number;
  readonly nodes: 'started with nodes' | 'add nodes';
  /** The monitor over which qemu was given their sockets, if it was given any. */
  readonly files?: Pick<FdSender, 'execute'>;
}

/**
 * Adds a device for each drive, and its block nodes unless the machine was started with them.
 * @throws GuestfsError for a drive with a known fault; QmpError for any other refusal; or the reason of `signal`
 */
export async function attachDrives(
  monitor: QmpClient,
  { prepared, firstIndex, nodes, files }: Attachment,
  signal: AbortSignal,
): Promise<void> {
  /** The commands were sent without waiting in between. The first failure is the cause; those after it are consequences. */
  const all = async (drive: PreparedDrive, commands: readonly Promise<unknown>[]): Promise<void> => {
    const failed = (await Promise.allSettled(commands)).find((one) => one.status === 'rejected');
    if (failed === undefined) return;
    const { reason } = failed as { readonly reason: unknown };
    throw (reason instanceof QmpError ? prepared.explain(reason.description, drive) : undefined) ?? reason;
  };
  const addNodes = (drive: PreparedDrive): Promise<void> =>
    all(
      drive,
      drive.blockNodes.map((node) =>
        (socketOf(drive) === undefined ? monitor : (files ?? monitor)).execute('blockdev-add', node, signal),
      ),
    );
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

/** The socket from which the nodes of a drive read; undefined if they read files. */
export function socketOf({ blockNodes }: Pick<PreparedDrive, 'blockNodes'>): string | undefined {
  for (const { server } of blockNodes) {
    const { type, str } = (server ?? {}) as { readonly type?: unknown; readonly str?: unknown };
    if (type === 'fd' && typeof str === 'string') return str;
  }
  return undefined;
}

/**
 * Detaches a device; resolves when qemu has removed it.
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
    // If `device_del` failed, the event never comes.
    wait.abort(new Error('no longer waited for'));
  }
}

function definedOnly(properties: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

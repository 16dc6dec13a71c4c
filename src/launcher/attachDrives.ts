/** Attaches drives to a running or paused machine through its monitor, and detaches devices. */
import { linkedAbort } from '../common/waiting.js';
import type { PreparedDrive, PreparedDrives } from '../images/prepareDrives.js';
import { driveProperties } from '../qemu/applianceMachine.js';
import type { FdSender } from '../qemu/fdSender.js';
import { requireGivenNodesOnly } from './checkNodes.js';
import { QmpError, type QmpClient } from '../qemu/qmpClient.js';

/** Which drives to attach, at which targets, and what the machine was started with. */
export interface Attachment {
  readonly prepared: PreparedDrives;
  /** SCSI target of the first drive. */
  readonly firstIndex: number;
  /** Of all drives that have no secret: their block nodes, or their devices as well. */
  readonly startedWith: 'nothing' | 'nodes' | 'devices';
  /** The monitor over which qemu was given their sockets, if it was given any. */
  readonly files?: Pick<FdSender, 'execute'>;
}

/** Whether a drive can be on qemu's command line, where a secret must not be. */
export function canBeStartedWith({ secret }: Pick<PreparedDrive, 'secret'>): boolean {
  return secret === undefined;
}

/**
 * Adds the block nodes of each drive and a device for it, except for those that the machine was started with.
 * @throws GuestfsError for a drive with a known fault; QmpError for any other refusal; or the reason of `signal`
 */
export async function attachDrives(
  monitor: QmpClient,
  { prepared, firstIndex, startedWith, files }: Attachment,
  signal: AbortSignal,
): Promise<void> {
  /** The commands were sent without waiting in between. The first failure is the cause; those after it are consequences. */
  const all = async (drive: PreparedDrive, commands: readonly Promise<unknown>[]): Promise<void> => {
    const failed = (await Promise.allSettled(commands)).find((one) => one.status === 'rejected');
    if (failed === undefined) return;
    const { reason } = failed as { readonly reason: unknown };
    throw (reason instanceof QmpError ? prepared.explain(reason.description, drive) : undefined) ?? reason;
  };
  const addNodes = (drive: PreparedDrive): Promise<void> => {
    const { secret, blockNodes } = drive;
    const receiver = socketOf(drive) === undefined ? monitor : (files ?? monitor);
    const nodes = (): Promise<unknown>[] => blockNodes.map((node) => receiver.execute('blockdev-add', node, signal));
    if (secret === undefined) return all(drive, nodes());
    const { id, data } = secret;
    return all(drive, [
      monitor.execute('object-add', { 'qom-type': 'secret', id, data }, signal),
      ...nodes(),
      // An open image needs it no longer.
      monitor.execute('object-del', { id }, signal),
    ]);
  };
  const addDevice = async (drive: PreparedDrive, position: number): Promise<void> => {
    if (startedWith === 'devices' && canBeStartedWith(drive)) return;
    const properties = definedOnly(driveProperties(drive, firstIndex + position));
    await all(drive, [monitor.execute('device_add', { driver: 'scsi-hd', ...properties }, signal)]);
  };
  const withoutNodes = prepared.drives.filter((drive) => startedWith === 'nothing' || !canBeStartedWith(drive));
  if (withoutNodes.length > 0) {
    await Promise.all(withoutNodes.map(addNodes));
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

/** Saves and restores the state of a machine with qemu's migration, without its memory, which is a file. */
import type { Duplex } from 'node:stream';
import { unlessAborted } from '../../common/waiting.js';
import type { QmpClient } from '../../qemu/qmpClient.js';

/** Maximum size of a saved state, which is usually half a megabyte. */
const STATE_LIMIT = 64 << 20;

/** Leaves shared memory out of the migration stream, and reports the end of a migration as an event. */
const CAPABILITIES = ['x-ignore-shared', 'events'].map((capability) => ({ capability, state: true }));

/** The monitor of the machine to save or restore. */
export interface Migration {
  readonly monitor: QmpClient;
  readonly signal: AbortSignal;
}

/** Where qemu writes its state: a channel that it has inherited, since it may not be allowed to make a socket. */
export interface StateChannel {
  /** qemu's descriptor. */
  readonly fd: number;
  /** The server's end. */
  readonly channel: Duplex;
  /** Ends qemu, which closes the channel for certain: not only qemu, but all processes of its jail have inherited it. */
  readonly endQemu: () => Promise<unknown>;
}

/** Saves the state of a stopped machine, and ends it. */
export async function saveState(
  { monitor, signal }: Migration,
  { fd, channel, endQemu }: StateChannel,
): Promise<Buffer> {
  // Registered before: qemu writes as soon as it gets the command.
  const received = readAll(channel);
  received.catch(() => undefined);
  await migrate({ monitor, signal }, 'migrate', `fd:${fd}`);
  await unlessAborted(endQemu(), signal);
  return unlessAborted(received, signal);
}

/** Restores a machine started with `-incoming defer` from qemu's descriptor `fd`; it is paused then. */
export async function restoreState(migration: Migration, fd: number): Promise<void> {
  await migrate(migration, 'migrate-incoming', `fd:${fd}`);
}

async function migrate({ monitor, signal }: Migration, command: string, uri: string): Promise<void> {
  await monitor.execute('migrate-set-capabilities', { capabilities: CAPABILITIES }, signal);
  const ended = monitor.waitForEvent(
    ({ event, data }) => event === 'MIGRATION' && ['completed', 'failed', 'cancelled'].includes(String(data['status'])),
    signal,
  );
  ended.catch(() => undefined);
  await monitor.execute(command, { uri }, signal);
  const { data } = await ended;
  if (data['status'] !== 'completed') {
    const why = (await monitor.execute('query-migrate', undefined, signal)) as { 'error-desc'?: string };
    throw new Error(`${command} ${String(data['status'])}: ${why['error-desc'] ?? 'qemu gives no reason'}`);
  }
}

async function readAll(channel: Duplex): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of channel as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > STATE_LIMIT) throw new Error(`the state of the machine is larger than ${STATE_LIMIT} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

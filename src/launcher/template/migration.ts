/** Saves and restores the state of a machine with qemu's migration, without its memory, which is a file. */
import { lchown, type FileHandle } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
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

/**
 * Saves the state of a stopped machine, which can then only be ended.
 * @param directory qemu's working directory, in which a socket is created for it
 */
export async function saveState({ monitor, signal }: Migration, directory: FileHandle): Promise<Buffer> {
  const name = 'state';
  // By descriptor: the path of the directory may be longer than that of a socket can be.
  const path = `/proc/self/fd/${directory.fd}/${name}`;
  const server = createServer();
  // Registered before listening: qemu connects as soon as it gets the command.
  const connected = new Promise<Buffer>((resolve, reject) => {
    server.once('connection', (socket) => {
      server.close();
      resolve(readAll(socket));
    });
    server.once('error', reject);
  });
  connected.catch(() => undefined);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    const { uid, gid } = await directory.stat();
    // Follows no link that its owner may have put there.
    await lchown(path, uid, gid);
    await migrate({ monitor, signal }, 'migrate', `unix:${name}`);
    return await unlessAborted(connected, signal);
  } finally {
    server.close();
  }
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

async function readAll(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of socket as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > STATE_LIMIT) throw new Error(`the state of the machine is larger than ${STATE_LIMIT} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

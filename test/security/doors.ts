/** Doors: all ways in which a client can name a file of the host, and their outcomes. */
import { existsSync } from 'node:fs';
import { inspect } from 'node:util';
import { imageDrive, SessionClient, type TestClient } from '../support/testClient.js';
import { GuestfsRpcError } from '../../clients/typescript/src/index.js';

/** A client with a session that is READY and one that is not. */
export interface Visitor {
  readonly client: TestClient;
  readonly ready: SessionClient;
  readonly config: SessionClient;
}

/** What a door is used for. */
export type DoorKind =
  /** The contents become a drive. */
  | 'attach'
  /** A path becomes a drive later, at the launch. */
  | 'name'
  /** The answer is about the file. */
  | 'ask'
  /** The file is created, or replaced. */
  | 'make'
  /** An image is created with the file as its backing file. */
  | 'refer';

export interface Door {
  readonly name: string;
  readonly kind: DoorKind;
  /** Tries it; returns everything that the server answered. */
  readonly use: (visitor: Visitor, path: string, format: string | undefined) => Promise<unknown>;
}

const formatOf = (format: string | undefined): object => (format === undefined ? {} : { format });
let made = 0;

/** Adds a drive to the running machine, reads from it, and removes it. */
function hotAdd(readonly: boolean): Door['use'] {
  return async ({ ready }, filename, format) => {
    await ready.call('add_drive', { filename, readonly, label: 'hot', ...formatOf(format) });
    try {
      const device = '/dev/disk/guestfs/hot';
      const size = await ready.call('blockdev_getsize64', { device });
      const start: Buffer = await ready.call('pread_device', { device, count: 4096, offset: 0n });
      return [size, start.toString('latin1')];
    } finally {
      await ready.call('remove_drive', { label: 'hot' });
    }
  };
}

function createSession(writable: boolean, launch: boolean): Door['use'] {
  return async ({ client }, path, format) => {
    const session = await client.createSession({ drives: [imageDrive(path, { format, writable })], launch });
    await client.deleteSession(session.id);
    return session;
  };
}

/** An action in a new session that names a drive for the launch. */
function named(action: string, more: object, withFormat = false): Door['use'] {
  return async ({ client }, filename, format) => {
    const { id } = await client.createSession();
    try {
      return await new SessionClient(client, id).call(action, {
        filename,
        ...more,
        ...(withFormat ? formatOf(format) : {}),
      });
    } finally {
      await client.deleteSession(id);
    }
  };
}

const ask =
  (action: string): Door['use'] =>
  ({ config }, filename) =>
    config.call(action, { filename });

const make =
  (format: string, overwrite: boolean): Door['use'] =>
  ({ config }, filename) =>
    config.call('disk_create', { filename, format, size: 1n << 20n, overwrite });

export const DOORS: readonly Door[] = [
  { name: 'CreateSession', kind: 'name', use: createSession(false, false) },
  { name: 'CreateSession, launched', kind: 'attach', use: createSession(false, true) },
  { name: 'CreateSession, launched, writable', kind: 'attach', use: createSession(true, true) },
  { name: 'AddDrive', kind: 'name', use: named('add_drive', {}, true) },
  { name: 'AddDrive, read-only', kind: 'name', use: named('add_drive', { readonly: true }, true) },
  { name: 'AddDriveRo', kind: 'name', use: named('add_drive_ro', {}) },
  { name: 'AddCdrom', kind: 'name', use: named('add_cdrom', {}) },
  { name: 'AddDriveWithIf', kind: 'name', use: named('add_drive_with_if', { iface: 'ide' }) },
  { name: 'AddDriveRoWithIf', kind: 'name', use: named('add_drive_ro_with_if', { iface: 'ide' }) },
  { name: 'hot add', kind: 'attach', use: hotAdd(false) },
  { name: 'hot add, read-only', kind: 'attach', use: hotAdd(true) },
  {
    name: 'Inspect',
    kind: 'attach',
    use: ({ client }, value, format) =>
      client.inspect({
        drives: [{ source: { $case: 'path', value }, format, blocksize: undefined, backing_formats: [] }],
      }),
  },
  { name: 'DiskCreate raw', kind: 'make', use: make('raw', false) },
  { name: 'DiskCreate qcow2', kind: 'make', use: make('qcow2', false) },
  { name: 'DiskCreate raw, overwrite', kind: 'make', use: make('raw', true) },
  { name: 'DiskCreate qcow2, overwrite', kind: 'make', use: make('qcow2', true) },
  ...[undefined, 'raw', 'qcow2'].map(
    (backingformat): Door => ({
      name: `DiskCreate on a backing file${backingformat === undefined ? '' : ` in ${backingformat}`}`,
      kind: 'refer',
      use: ({ config }, backingfile) =>
        config.call('disk_create', {
          ...{ filename: `made${made++}.qcow2`, format: 'qcow2', size: -1n, backingfile },
          ...(backingformat === undefined ? {} : { backingformat }),
        }),
    }),
  ),
  { name: 'DiskFormat', kind: 'ask', use: ask('disk_format') },
  { name: 'DiskVirtualSize', kind: 'ask', use: ask('disk_virtual_size') },
  { name: 'DiskHasBackingFile', kind: 'ask', use: ask('disk_has_backing_file') },
];

/** How an attempt ended: the reason for the refusal, or `answered`; and all text that the client received. */
export interface Outcome {
  readonly reason: string;
  readonly text: string;
}

/** Tries a door. */
export async function tryDoor(
  door: Door,
  visitor: Visitor,
  path: string,
  format: string | undefined,
): Promise<Outcome> {
  return outcomeOf(door.use(visitor, path, format));
}

export async function outcomeOf(attempt: Promise<unknown>): Promise<Outcome> {
  try {
    const answer = await attempt;
    return { reason: 'answered', text: inspect(answer, { depth: null, maxStringLength: null, maxArrayLength: null }) };
  } catch (error) {
    if (!(error instanceof GuestfsRpcError)) throw error;
    const { code, details, info } = error;
    return {
      reason: info?.reason ?? `no reason, ${code}: ${details}`,
      text: inspect([details, info], { depth: null }),
    };
  }
}

const PATH = /\/[\w%+@.-]+(?:\/[\w%+@.-]+)*/g;
/** Devices of the appliance can have the same names as those of the host. */
const OF_THE_APPLIANCE = /^\/dev(\/|$)/;

/** Paths in a text that exist on this host, except those that the client wrote itself, in its request or its image. */
export function leakedPaths(text: string, written: readonly string[]): string[] {
  return [...new Set(text.match(PATH))].filter(
    (path) => !OF_THE_APPLIANCE.test(path) && !written.some((own) => own.includes(path)) && existsSync(path),
  );
}

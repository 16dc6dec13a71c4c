/**
 * What the process that connects to a remote drive's server needs and must not have on its command line: secrets,
 * keys, and sockets.
 */
import { chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import type { RemoteAccess } from './remoteNodes.js';
import { isWebProtocol, type RemoteServer, type RemoteSource } from './remoteSource.js';
import { relaySocket, type SocketRelay } from './socketRelay.js';

/** Arguments of one `object-add`. */
export type QemuObject = Readonly<Record<string, string>> & { readonly 'qom-type': string; readonly id: string };

/** The user and group of the process. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The resources of one drive. */
export interface RemoteResources extends RemoteAccess {
  /** Objects to add before the drive's node. They contain the secret. */
  readonly objects: readonly QemuObject[];
  /** Name of a file with the secret, in the directory, for a program other than qemu; undefined if there is none. */
  readonly secretFile: string | undefined;
  /** Removes everything, once the drive is open; open connections stay open. Can be called twice. */
  close(): Promise<void>;
}

const SECRET_ID = 'secret';
const SECRET_FILE = 'secret';
const SSH_DIRECTORY = '.ssh';
/** One of the names under which libssh looks for a key of its user, whatever the kind of the key. */
const SSH_KEY = 'id_ed25519';

/**
 * Creates the resources of one drive.
 * @param directory the working directory of the process, which belongs to `owner` and to no other drive
 * @throws GuestfsError those of {@link relaySocket}; `ENOTSUP` for a key that would not be found
 */
export async function createRemoteResources(
  source: RemoteSource,
  directory: string,
  owner: Owner,
  roots: ImageRoots,
): Promise<RemoteResources> {
  const relays: SocketRelay[] = [];
  const sockets = new Map<RemoteServer, string>();
  const close = async (): Promise<void> => {
    await Promise.all([
      ...[SSH_DIRECTORY, SECRET_FILE].map((name) => rm(join(directory, name), { recursive: true, force: true })),
      ...relays.map((relay) => relay.close()),
    ]);
  };
  try {
    for (const server of source.servers) {
      if (server.transport !== 'unix') continue;
      const name = `${relays.length}.sock`;
      relays.push(await relaySocket(server.path, directory, name, roots));
      sockets.set(server, name);
    }
    const { secret, protocol } = source;
    if (secret !== undefined && protocol === 'ssh') await giveSshKey(secret, directory, owner);
    const hasFile = secret !== undefined && isWebProtocol(protocol);
    if (hasFile) await writeFor(owner, join(directory, SECRET_FILE), `${secret}\n`);
    const objects: readonly QemuObject[] =
      secret === undefined || protocol === 'ssh' || hasFile
        ? []
        : [{ 'qom-type': 'secret', id: SECRET_ID, format: protocol === 'rbd' ? 'base64' : 'raw', data: secret }];
    return {
      ...{ objects, secretId: objects[0]?.id, secretFile: hasFile ? SECRET_FILE : undefined, close },
      socketFor: (server) => sockets.get(server) as string,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function giveSshKey(key: string, directory: string, owner: Owner): Promise<void> {
  // libssh uses HOME only for a user without a passwd entry; for others it uses the directory in the entry.
  if (process.geteuid?.() === owner.uid) {
    throw new GuestfsError(
      'ENOTSUP',
      'ssh: a drive cannot have its own key, because this server does not run as root and the keys of its user are used: leave secret out',
    );
  }
  const place = join(directory, SSH_DIRECTORY);
  await mkdir(place, { mode: 0o700 });
  await writeFor(owner, join(place, SSH_KEY), key.endsWith('\n') ? key : `${key}\n`);
  await chown(place, owner.uid, owner.gid);
}

async function writeFor({ uid, gid }: Owner, path: string, content: string): Promise<void> {
  await writeFile(path, content, { flag: 'wx', mode: 0o600 });
  await chown(path, uid, gid);
}

/**
 * What a machine needs to reach network drives and must not have on its command line:
 * secrets, keys, and sockets. All of it is in the machine's private directory, until
 * qemu has opened its drives.
 */
import { chown, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import type { RemoteAccess } from './remoteNodes.js';
import type { RemoteServer, RemoteSource } from './remoteSource.js';
import { relaySocket, type SocketRelay } from './socketRelay.js';

/** Arguments of one `object-add`, or of `-object` as JSON. */
export type QemuObject = Readonly<Record<string, string>> & { readonly 'qom-type': string; readonly id: string };

/** The resources of one drive. */
export interface RemoteResources extends RemoteAccess {
  /** Objects to add before the drive's nodes. */
  readonly objects: readonly QemuObject[];
  /** Removes everything; open connections stay open. Can be called twice. */
  close(): Promise<void>;
}

/**
 * Creates the resources of one drive.
 * @param prefix of the names of files and objects
 * @throws GuestfsError those of {@link relaySocket}; `ENOTSUP` for a key that qemu would not find
 */
export async function createRemoteResources(
  source: RemoteSource,
  prefix: string,
  runDirectory: string,
  roots: ImageRoots,
): Promise<RemoteResources> {
  const owner = await stat(runDirectory);
  const files: string[] = [];
  const relays: SocketRelay[] = [];
  const sockets = new Map<RemoteServer, string>();
  const close = async (): Promise<void> => {
    await Promise.all([...files.map((path) => rm(path, { force: true })), ...relays.map((relay) => relay.close())]);
  };
  /** qemu reads it from its working directory, as its own user: it has no access to the directories above. */
  const give = async (name: string, contents: string): Promise<string> => {
    const path = join(runDirectory, name);
    files.push(path);
    await writeFile(path, contents, { flag: 'wx', mode: 0o600 });
    await chown(path, owner.uid, owner.gid);
    return name;
  };
  try {
    for (const server of source.servers) {
      if (server.transport !== 'unix') continue;
      const name = `${prefix}-${relays.length}.sock`;
      relays.push(await relaySocket(server.path, runDirectory, name, roots));
      sockets.set(server, name);
    }
    const objects: QemuObject[] = [];
    if (source.secret !== undefined && source.protocol === 'ssh') {
      await giveSshKey(source.secret, prefix, runDirectory, owner, give);
    } else if (source.secret !== undefined) {
      const format = source.protocol === 'rbd' ? 'base64' : 'raw';
      objects.push({
        'qom-type': 'secret',
        id: `${prefix}-secret`,
        format,
        file: await give(`${prefix}.secret`, source.secret),
      });
    }
    return { objects, secretId: objects[0]?.id, socketFor: (server) => sockets.get(server) as string, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Names under which libssh looks for a key in its user's directory. */
const SSH_KEYS = ['id_ed25519', 'id_ecdsa', 'id_rsa'] as const;

async function giveSshKey(
  key: string,
  prefix: string,
  runDirectory: string,
  owner: { readonly uid: number; readonly gid: number },
  give: (name: string, contents: string) => Promise<string>,
): Promise<void> {
  // libssh uses HOME only for a user without a passwd entry; for others it uses the directory in the entry.
  if (process.geteuid?.() === owner.uid) {
    throw new GuestfsError(
      'ENOTSUP',
      'ssh: a drive cannot have its own key, because this server does not run as root and qemu uses the keys of its user: leave secret out',
    );
  }
  const directory = join(runDirectory, '.ssh');
  await mkdir(directory, { mode: 0o700, recursive: true });
  await chown(directory, owner.uid, owner.gid);
  for (const name of SSH_KEYS) {
    try {
      await give(join('.ssh', name), key.endsWith('\n') ? key : `${key}\n`);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  throw new GuestfsError(
    'ENOTSUP',
    `ssh: ${prefix} is one drive too many with a key of its own: a session has at most ${SSH_KEYS.length}`,
  );
}

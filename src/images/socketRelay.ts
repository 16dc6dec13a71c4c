/**
 * Gives qemu access to one Unix socket under the image roots. qemu's user has no permission on it, or on
 * the directories above it, so qemu connects to a socket in its machine's directory, and the server
 * connects to exactly the one that it checked.
 */
import { lchown, open } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { GuestfsError, messageOf } from '../common/errors.js';
import { openSocket, type ImageRoots } from '../security/pathPolicy.js';

/** A listening socket. */
export interface SocketRelay {
  /** Accepts no more connections; open ones last until either side closes them. */
  close(): Promise<void>;
}

/**
 * Listens for processes of a directory's owner, and relays each connection to `target`.
 * @param name of the socket in the directory
 * @throws GuestfsError those of {@link openSocket}, `EIO` if no socket can be created
 */
export async function relaySocket(
  target: string,
  directory: string,
  name: string,
  roots: ImageRoots,
): Promise<SocketRelay> {
  const targetHandle = await openSocket(target, roots);
  // By descriptor: the path of the directory may be longer than that of a socket can be.
  const directoryHandle = await open(directory, 'r').catch(async (error: unknown) => {
    await targetHandle.close();
    throw error;
  });
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = createConnection({ path: `/proc/self/fd/${targetHandle.fd}`, allowHalfOpen: true });
    pass(near, far);
    pass(far, near);
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      // Removes the socket at once, by the path it was created with. It finishes with the last connection; not awaited.
      server.close();
      await Promise.all([targetHandle.close(), directoryHandle.close()]);
    })());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`/proc/self/fd/${directoryHandle.fd}/${name}`, resolve);
    });
    const { uid, gid } = await directoryHandle.stat();
    await lchown(join(directory, name), uid, gid);
    server.unref();
    return { close };
  } catch (error) {
    await close();
    throw new GuestfsError('EIO', `a socket for a drive cannot be created: ${messageOf(error)}`, { cause: error });
  }
}

/** Forwards everything from `source` to `target`; when one ends, for whatever reason, so does the other. */
function pass(source: Socket, target: Socket): void {
  source.on('error', () => target.destroy());
  source.on('close', () => target.destroy());
  source.pipe(target);
}

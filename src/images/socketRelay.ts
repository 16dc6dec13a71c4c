/**
 * Lets a qemu reach one Unix socket under the image roots. qemu's user has no right on it, or on
 * the directories above it, so qemu connects to a socket in its machine's own directory, and
 * the server connects to exactly the one that it checked.
 */
import { lchown, open } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { GuestfsError, messageOf } from '../common/errors.js';
import { openSocket, type ImageRoots } from '../security/pathPolicy.js';

/** A socket that is listened on. */
export interface SocketRelay {
  /** Takes no more connections; those that are open last until one of their ends closes. */
  close(): Promise<void>;
}

/**
 * Listens for whatever runs as the owner of a directory, and passes each connection on to `target`.
 * @param name of the socket in the directory
 * @throws GuestfsError those of {@link openSocket}, `EIO` when no socket can be made
 */
export async function relaySocket(
  target: string,
  directory: string,
  name: string,
  roots: ImageRoots,
): Promise<SocketRelay> {
  const targetHandle = await openSocket(target, roots);
  // By descriptor: the path of the directory may be longer than a socket's may be.
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
      // Removes the socket, at once and by the path it was made with; ends when the last connection does, which nobody awaits.
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
    throw new GuestfsError('EIO', `a socket for a drive cannot be made: ${messageOf(error)}`, { cause: error });
  }
}

/** What comes from `source` goes to `target`; the end of one, however it comes, is that of the other. */
function pass(source: Socket, target: Socket): void {
  source.on('error', () => target.destroy());
  source.on('close', () => target.destroy());
  source.pipe(target);
}

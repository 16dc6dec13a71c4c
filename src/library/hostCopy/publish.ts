/** Moves received files to their destination, with the result of unpacking there: directories are merged, files replaced. */
import { constants, type Stats } from 'node:fs';
import { lstat, open, readdir, rename, unlink } from 'node:fs/promises';
import { GuestfsError } from '../../common/errors.js';
import { decodeGuestText, printable } from '../../common/guestText.js';

const SLASH = Buffer.from('/');
const OWNER_MAY_WRITE = 0o200;

function within(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, SLASH, name]);
}

async function move(from: Buffer, to: Buffer, what: Stats): Promise<void> {
  if (!what.isDirectory() || (what.mode & OWNER_MAY_WRITE) !== 0) return rename(from, to);
  // Moving a directory also changes the directory itself: its `..`.
  const handle = await open(from, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await handle.chmod(what.mode | OWNER_MAY_WRITE);
    await rename(from, to);
    await handle.chmod(what.mode);
  } finally {
    await handle.close();
  }
}

/** Moves one file or tree without following links. Names are bytes, chosen by a guest. */
export async function publish(from: Buffer, to: Buffer): Promise<void> {
  const what = await lstat(from);
  const there = await lstat(to).catch(() => undefined);
  if (there?.isDirectory() && what.isDirectory()) return publishEntries(from, to);
  if (there?.isDirectory())
    throw new GuestfsError(
      'EISDIR',
      `'${printable(decodeGuestText(to.subarray(to.lastIndexOf(SLASH) + 1)))}' is a directory on the server, and not in the guest`,
    );
  // Renaming over a file replaces it, unless a directory is renamed.
  if (there !== undefined && what.isDirectory()) await unlink(to);
  return move(from, to, what);
}

/** Moves everything in a directory. */
export async function publishEntries(from: Buffer, to: Buffer): Promise<void> {
  for (const name of await readdir(from, { encoding: 'buffer' })) await publish(within(from, name), within(to, name));
}

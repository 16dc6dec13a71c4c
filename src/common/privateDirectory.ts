/** Private directories under shared ones, such as /var/tmp, safe from being prepared or changed by other users. */
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Creates `path` with `mode` if it does not exist, and checks that it is a directory
 * that this user owns and only this user can write to.
 *
 * @throws Error whose message continues after the name of the directory, as in "belongs to user 5"
 */
export async function makePrivateDirectory(path: string, mode: 0o700 | 0o755): Promise<void> {
  const uid = process.geteuid?.() ?? 0;
  await mkdir(dirname(path), { recursive: true });
  await mkdir(path, { mode }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(path);
  if (!found.isDirectory()) throw new Error('is not a directory');
  if (found.uid !== uid) throw new Error(`belongs to user ${found.uid} and not to ${uid}`);
  if ((found.mode & 0o022) !== 0)
    throw new Error(`is writable by other users (mode ${(found.mode & 0o7777).toString(8)})`);
  // The umask may have cleared some bits of the mode.
  if ((found.mode & 0o777) !== mode) await chmod(path, mode);
}

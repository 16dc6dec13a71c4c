/** Directories under shared ones, such as /var/tmp, that nobody else can have prepared or changed. */
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes `path` with `mode` if it is not there, and checks that it is a directory
 * of this user which only this user can write.
 *
 * @throws Error whose message goes on after the name of the directory, as in "belongs to user 5"
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
    throw new Error(`can be written by others (mode ${(found.mode & 0o7777).toString(8)})`);
  // A umask may have taken away what is wanted.
  if ((found.mode & 0o777) !== mode) await chmod(path, mode);
}

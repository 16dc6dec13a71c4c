/** Files that qemu opens by path, as a user that may lack permission. */
import { constants } from 'node:fs';
import { copyFile, open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

/** A file that can be opened again through `/proc`. */
export interface PlainFile {
  readonly handle: FileHandle;
  /** Closes the handle unless it is the one that was passed in. */
  close(): Promise<void>;
}

/**
 * Returns a handle on the content of `file` that every user can reopen: the
 * file itself if it is world-readable, otherwise an unlinked copy.
 *
 * @param others whether another user will open it; if not, the file itself is used
 */
export async function openForEverybody(
  file: FileHandle,
  runDirectory: string,
  name: string,
  others: boolean,
): Promise<PlainFile> {
  if (!others || ((await file.stat()).mode & 0o004) !== 0) return { handle: file, close: async () => undefined };
  const path = join(runDirectory, name);
  await copyFile(`/proc/self/fd/${file.fd}`, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  try {
    const handle = await open(path, 'r');
    await handle.chmod(0o444);
    return { handle, close: () => handle.close() };
  } finally {
    await unlink(path);
  }
}

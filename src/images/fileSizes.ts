/** Adds up the sizes of files, without following links. */
import { lstat, readdir } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';
import { fileIdentity, systemErrorCode, type WritableDirectories } from '../security/pathPolicy.js';

/** Even names and empty files take some space. */
const UNIT = 4096n;
const SECTOR = 512n;
const SLASH = Buffer.from('/');
const GONE: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR']);

/**
 * Bytes of all files in directories: a file counts with its length or the space that it takes on the disk, whichever is
 * larger, in units of 4 KiB; a directory counts as one unit. A file with several names counts once.
 *
 * @param except identities of files, and of directories with their contents, that do not count
 * @throws GuestfsError if a directory cannot be read, so that nothing can be hidden there
 */
export async function bytesBelow(
  { directories, readOnly }: WritableDirectories,
  except: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<bigint> {
  const seen = new Set(except);
  const without = new Set(readOnly);
  let bytes = 0n;
  for (const root of directories) {
    const stats = await lstat(root, { bigint: true }).catch(unlessGone);
    if (stats === undefined || seen.has(fileIdentity(stats))) continue;
    seen.add(fileIdentity(stats));
    const ahead = [Buffer.from(root)];
    for (let directory = ahead.pop(); directory !== undefined; directory = ahead.pop()) {
      signal.throwIfAborted();
      for (const name of (await readdir(directory, { encoding: 'buffer' }).catch(unlessGone)) ?? []) {
        const path = Buffer.concat([directory, SLASH, name]);
        const found = await lstat(path, { bigint: true }).catch(unlessGone);
        if (found === undefined || seen.has(fileIdentity(found)) || without.has(path.toString())) continue;
        if (found.isDirectory() || found.nlink > 1n) seen.add(fileIdentity(found));
        const taken = found.blocks * SECTOR;
        const length = found.isFile() && found.size > taken ? found.size : taken;
        bytes += found.isDirectory() || length === 0n ? UNIT : ((length + UNIT - 1n) / UNIT) * UNIT;
        if (found.isDirectory()) ahead.push(path);
      }
    }
  }
  return bytes;
}

function unlessGone(error: unknown): undefined {
  const code = systemErrorCode(error);
  if (GONE.has(code)) return undefined;
  throw new GuestfsError(
    'LIMIT_EXCEEDED',
    `the size of this client's files cannot be determined, so it may write no more: ${code ?? 'unknown error'} in a directory that it may write to`,
    { metadata: { limit: 'max-disk-bytes-per-client' }, cause: error },
  );
}

/** Paths on the host that `copy_in` and `copy_out` may use: those under the image roots. */
import { constants } from 'node:fs';
import { lstat, open, readlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, isAbsolute } from 'node:path';
import { GuestfsError } from '../../common/errors.js';
import { printable } from '../../common/guestText.js';
import { requireWritableTree, resolveImagePath, type ImageNaming, type ImageRoots } from '../../security/pathPolicy.js';
import { refused } from '../refusal.js';

/** A name in an open directory. */
export interface NameInDirectory {
  readonly directory: FileHandle;
  readonly name: string;
}

/** The path of an open directory, valid even if the directory is renamed meanwhile. */
export function pathOf(directory: FileHandle): string {
  return `/proc/self/fd/${directory.fd}`;
}

/** Splits a path as the library does: a trailing slash is ignored. */
export function splitPath(path: string): { readonly parent: string; readonly name: string } {
  const name = basename(path);
  return { parent: name === '' ? path : dirname(path), name };
}

async function openDirectory(path: string, roots: ImageRoots, naming: ImageNaming): Promise<FileHandle> {
  const resolved = await resolveImagePath(path, roots, naming);
  const handle = await open(resolved, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch(
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
      throw error;
    },
  );
  if (handle === undefined) throw new GuestfsError('ENOTDIR', `${naming.subject} is not a directory`);
  if ((await readlink(pathOf(handle))) === resolved) return handle;
  await handle.close();
  throw new GuestfsError('OUTSIDE_IMAGE_ROOTS', `${naming.subject} was moved while it was being checked`);
}

/**
 * The file or directory to copy in. The path itself may be a link, which is copied as a link; its
 * target must still be under the roots.
 * @throws GuestfsError those of the path policy
 */
export async function openSource(localpath: string, roots: ImageRoots): Promise<NameInDirectory> {
  const naming = { subject: `source '${printable(localpath)}'` };
  const { name } = splitPath(localpath);
  if (name === '' || name === '..') throw refused('localpath', `${naming.subject} does not end in a name`);
  await resolveImagePath(localpath, roots, naming);
  const candidates = isAbsolute(localpath) ? [localpath] : roots.directories.map((root) => `${root}/${localpath}`);
  for (const [index, candidate] of candidates.entries()) {
    try {
      const directory = await openDirectory(splitPath(candidate).parent, roots, naming);
      const found = await lstat(`${pathOf(directory)}/${name}`).catch(() => undefined);
      if (found !== undefined) return { directory, name };
      await directory.close();
    } catch (error) {
      if (!(error instanceof GuestfsError) || error.reason !== 'IMAGE_MISSING' || index === candidates.length - 1)
        throw error;
    }
  }
  throw new GuestfsError('IMAGE_MISSING', `${naming.subject} does not exist under the server's image roots`);
}

/**
 * The destination of a copy out.
 * @throws GuestfsError those of the path policy, or ENOTDIR
 */
export async function openTarget(localdir: string, roots: ImageRoots): Promise<FileHandle> {
  const naming = { subject: `target '${printable(localdir)}'` };
  const target = await openDirectory(localdir, roots, naming);
  try {
    await requireWritableTree(await readlink(pathOf(target)), roots, naming);
    return target;
  } catch (error) {
    await target.close();
    throw error;
  }
}

/**
 * Images of identities where no policy says otherwise: nothing is shared. Below each image root, each identity has a
 * directory of its own, and sees nothing else.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../common/logger.js';
import { NO_OWN_LIMITS, type Access, type AccessPolicy } from './access.js';
import type { ImageRoots } from './pathPolicy.js';
import { systemErrorCode } from './pathPolicy.js';
import type { ServerPolicy } from './policy.js';

/** Its owner is the server's user. */
const MODE = 0o700;

/** The name of an identity's directory: `uri%3Aspiffe%3A%2F%2Fmesh%2Fbuild`. It is never `.` or `..`, because of the kind. */
export function directoryName(identity: string): string {
  return encodeURIComponent(identity);
}

/** The directories of an identity below image roots. */
export function directoriesOf(identity: string, roots: ImageRoots): readonly string[] {
  return roots.directories.map((root) => join(root, directoryName(identity)));
}

/** Makes what is missing; images can be used without it, as far as there are any. */
async function makeDirectories(directories: readonly string[], logger: Logger): Promise<void> {
  for (const directory of directories) {
    try {
      await mkdir(directory, { mode: MODE });
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST')
        logger.warn('an identity has no directory for its images: it cannot be made', { directory, err: error });
    }
  }
}

/** Each identity may do what the flags say, with images of its own. */
export function ownDirectories({ imageRoots, allowed }: ServerPolicy, logger: Logger): AccessPolicy {
  const made = new Map<string, Promise<Access>>();
  const accessOf = async (identity: string): Promise<Access> => {
    const directories = directoriesOf(identity, imageRoots);
    await makeDirectories(directories, logger);
    return {
      imageRoots: { ...imageRoots, directories, ofAll: imageRoots.directories, withoutLinks: true },
      allowed,
      limits: NO_OWN_LIMITS,
      requireCall: () => undefined,
    };
  };
  return {
    of: (identity) => {
      if (identity === undefined) throw new Error('a client without an identity');
      const access = made.get(identity) ?? accessOf(identity);
      made.set(identity, access);
      return access;
    },
  };
}

/**
 * Images of identities on a server without a policy: nothing is shared. Below each image root, each identity has its
 * own directory, and no access to anything else.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../common/logger.js';
import { NO_OWN_LIMITS, sameForAll, type Access, type AccessPolicy } from './access.js';
import type { ImageRoots } from './pathPolicy.js';
import { systemErrorCode } from './pathPolicy.js';
import type { Allowable, ServerPolicy } from './policy.js';

/** The owner is the server's user. */
const MODE = 0o700;

/** What concerns all clients: without a policy that says who may do it, only operators may. */
const FOR_OPERATORS: ReadonlySet<Allowable> = new Set<Allowable>(['channelz', 'drain']);

/** The name of an identity's directory: `uri%3Aspiffe%3A%2F%2Fmesh%2Fbuild`. Never `.` or `..`, because of the kind. */
export function directoryName(identity: string): string {
  return encodeURIComponent(identity);
}

/** The directories of an identity below image roots. */
export function directoriesOf(identity: string, roots: ImageRoots): readonly string[] {
  return roots.directories.map((root) => join(root, directoryName(identity)));
}

/** Creates missing directories; existing images can be used even if that fails. */
async function makeDirectories(directories: readonly string[], logger: Logger): Promise<void> {
  for (const directory of directories) {
    try {
      await mkdir(directory, { mode: MODE });
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST')
        logger.warn('cannot create the image directory of an identity', { directory, err: error });
    }
  }
}

/**
 * Each identity may do what the flags allow, with its own images; what concerns all clients is for operators.
 * @param operators identities that have all of the image roots
 */
export function ownDirectories(
  policy: ServerPolicy,
  logger: Logger,
  operators: ReadonlySet<string> = new Set(),
): AccessPolicy {
  const { imageRoots } = policy;
  const allowed = new Set([...policy.allowed].filter((permission) => !FOR_OPERATORS.has(permission)));
  const everywhere = sameForAll(policy);
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
      if (operators.has(identity)) return everywhere.of(identity);
      const access = made.get(identity) ?? accessOf(identity);
      made.set(identity, access);
      return access;
    },
  };
}

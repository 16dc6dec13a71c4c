/**
 * Run directories: private, one for each machine, and removed when it ends.
 *
 * A server that is killed cannot clean up, so the name of a run directory identifies
 * the server that created it, and the next server removes those whose creator has died:
 *
 *     guestfs-grpc-<PID namespace>-<pid>-<start time>-XXXXXX/   the server's
 *       private/                                                qemu's, 0700
 *       child-<PID namespace>-<pid>-<start time>                a process to kill as well
 *
 * The user that qemu runs as cannot change these names.
 */
import { chmod, chown, lstat, mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from './logger.js';
import { formatIdentity, identityOf, isRunning, parseIdentity } from './processIdentity.js';

const PREFIX = 'guestfs-grpc-';
const CHILD_PREFIX = 'child-';

/** Owner of the private part. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The run directory of one machine. */
export interface RunDirectory {
  /** Path of the private part: mode 0700, belonging to the owner. */
  readonly path: string;
  /** Records a process that the next server must kill if this one dies without doing so. */
  recordChild(pid: number): Promise<void>;
  /** Removes everything. Can be called twice. */
  remove(): Promise<void>;
}

/** Creates a run directory under `parent` whose private part belongs to `owner`, or by default to the server's user. */
export async function createRunDirectory(parent: string, owner: Owner | undefined): Promise<RunDirectory> {
  const self = await identityOf(process.pid);
  if (self === undefined) throw new Error('/proc does not show this process');
  await mkdir(parent, { recursive: true });
  const outer = await mkdtemp(join(parent, `${PREFIX}${formatIdentity(self)}-`));
  const remove = (): Promise<void> => rm(outer, { recursive: true, force: true });
  try {
    const path = join(outer, 'private');
    await mkdir(path, { mode: 0o700 });
    if (owner !== undefined) {
      // Other users may enter it, but not list it.
      await chmod(outer, 0o711);
      await chown(path, owner.uid, owner.gid);
    }
    return {
      path,
      remove,
      recordChild: async (pid) => {
        const child = await identityOf(pid);
        if (child === undefined) return;
        await (await open(join(outer, `${CHILD_PREFIX}${formatIdentity(child)}`), 'wx', 0o600)).close();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * Removes the run directories under `parent` whose server has died, and kills the
 * processes that it left behind. Directories of other users are left alone.
 *
 * @returns how many were removed
 */
export async function sweepRunDirectories(parent: string, logger: Logger): Promise<number> {
  const names = await readdir(parent).catch(() => []);
  let removed = 0;
  for (const name of names.filter((one) => one.startsWith(PREFIX))) {
    const path = join(parent, name);
    try {
      const maker = parseIdentity(name.slice(PREFIX.length, name.lastIndexOf('-')));
      // In a directory such as /tmp, any user can create such a name.
      const found = await lstat(path);
      if (maker === undefined || !found.isDirectory() || found.uid !== process.geteuid?.()) continue;
      if ((await isRunning(maker)) !== false) continue;
      await endChildren(path);
      await rm(path, { recursive: true, force: true });
      removed += 1;
    } catch (error) {
      logger.warn('cannot remove the run directory of a dead server', { path, err: error });
    }
  }
  if (removed > 0) logger.info('removed the run directories of a dead server', { directory: parent, count: removed });
  return removed;
}

async function endChildren(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    const child = name.startsWith(CHILD_PREFIX) ? parseIdentity(name.slice(CHILD_PREFIX.length)) : undefined;
    if (child === undefined || (await isRunning(child)) !== true) continue;
    try {
      process.kill(child.pid, 'SIGKILL');
    } catch {
      // It has exited in the meantime.
    }
  }
}

/** Systems that the daemon does not recognise: those without /etc/fstab, and those whose root is not at the top of a file system. */
import { globExpand, isDir, realpath } from '../../../gen/calls/file.js';
import { inspectGetFilesystems } from '../../../gen/calls/inspection.js';
import { mountRo, umountAll } from '../../../gen/calls/mount.js';
import { GuestfsError } from '../../common/errors.js';
import { isDaemonError, unlessDaemonFails } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';
import type { Filesystems } from './filesystems.js';
import type { FoundSystem } from './foundSystem.js';
import { deviceOf } from './mending/culprit.js';
import { resolveMountable } from './mountpoints.js';
import { findReleaseFile, RELEASE_FILES, USR_RELEASE_FILES } from './release.js';
import type { Warnings } from './warnings.js';

/** What no Linux system is on, or what cannot be mounted in the first place. */
const WITHOUT_SYSTEMS: ReadonlySet<string> = new Set([
  '',
  'unknown',
  'swap',
  'swsuspend',
  'jbd',
  'vfat',
  'exfat',
  'iso9660',
  'udf',
  'BitLocker',
]);
const NTFS = 'ntfs';
/** OSTree keeps few; a crafted image could have any number of them. */
const MAX_DEPLOYMENTS = 8;
const DEPLOYMENTS = '/ostree/deploy/*/deploy/*.*';

/** The deployments of OSTree on the mounted file system, resolved so that no link leads elsewhere. */
async function deployments(actions: ActionCalls): Promise<string[]> {
  const { paths } = await actions.call(globExpand, { pattern: DEPLOYMENTS, directoryslash: false });
  const found: string[] = [];
  for (const path of paths) {
    if (found.length === MAX_DEPLOYMENTS) break;
    if (!(await actions.call(isDir, { path, followsymlinks: false })).dirflag) continue;
    if ((await findReleaseFile(actions, [`${path}/usr/lib/os-release`])) === undefined) continue;
    found.push((await actions.call(realpath, { path })).rpath);
  }
  return found;
}

/** The systems on the mounted file system. */
async function systemsOnMounted(actions: ActionCalls, root: string): Promise<FoundSystem[]> {
  const system = { root, isInspected: false, snapshots: [] };
  const directories = await deployments(actions);
  if (directories.length > 0) return directories.map((directory) => ({ ...system, directory }));
  if ((await findReleaseFile(actions, RELEASE_FILES)) !== undefined) return [{ ...system, directory: '/' }];
  if ((await findReleaseFile(actions, USR_RELEASE_FILES)) !== undefined) return [{ ...system, directory: '/usr' }];
  return [];
}

/** The systems on one file system; none, with a warning, if it cannot be mounted. */
export async function systemsOn(actions: ActionCalls, mountable: string, warnings: Warnings): Promise<FoundSystem[]> {
  try {
    await actions.call(umountAll, {});
    await actions.call(mountRo, { mountable, mountpoint: '/' });
    const found = await systemsOnMounted(actions, mountable);
    await actions.call(umountAll, {});
    return found;
  } catch (error) {
    if (!isDaemonError(error)) throw error;
    const { reason, message } = GuestfsError.from(error);
    warnings.add(
      'roots',
      mountRo.action,
      reason,
      `${mountable} cannot be read, so nothing on it is reported: ${message}`,
    );
    return [];
  }
}

/** The file systems that systems use, and all of those on the same Btrfs. */
async function inUse(
  actions: ActionCalls,
  filesystems: Filesystems,
  known: readonly FoundSystem[],
): Promise<ReadonlySet<string>> {
  const used = new Set<string>();
  for (const { root } of known) {
    used.add(root);
    const answer = await unlessDaemonFails(actions.call(inspectGetFilesystems, { root }));
    for (const one of answer?.filesystems ?? [])
      used.add(one.startsWith('/dev/disk/') ? await resolveMountable(actions, one) : one);
  }
  const devices = new Set([...used].map(deviceOf));
  for (const [mountable, type] of filesystems)
    if (type === 'btrfs' && devices.has(deviceOf(mountable))) used.add(mountable);
  return used;
}

/**
 * Systems that the daemon has not found, on the file systems that no system uses. It says nothing about those that it cannot
 * mount: they cause warnings here.
 */
export async function detectSystems(
  actions: ActionCalls,
  filesystems: Filesystems,
  known: readonly FoundSystem[],
  warnings: Warnings,
): Promise<FoundSystem[]> {
  const used = await inUse(actions, filesystems, known);
  // Beside a Windows, they hold data.
  const isNtfsData = known.some(({ root }) => filesystems.get(root) === NTFS);
  const found: FoundSystem[] = [];
  for (const [mountable, type] of filesystems) {
    if (WITHOUT_SYSTEMS.has(type) || used.has(mountable) || (type === NTFS && isNtfsData)) continue;
    found.push(...(await systemsOn(actions, mountable, warnings)));
  }
  return found;
}

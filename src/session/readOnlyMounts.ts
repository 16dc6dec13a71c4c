/**
 * Mounts that succeed, but not as they were asked for: ntfs-3g mounts a hibernated Windows read-only, and says so only
 * where no client can see it. Writes would fail later, with an error that tells nothing about the cause.
 */
import { debug } from '../../gen/calls/debug.js';
import { statvfs } from '../../gen/calls/file.js';
import { umount } from '../../gen/calls/mount.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { Ask } from './ask.js';

/** `f_flag` of statvfs(3): mounted read-only. */
const ST_RDONLY = 1n;

/**
 * Prints `hibernated` if what was mounted last is NTFS, read-only, by ntfs-3g, which does so by itself for no other reason
 * on a device that can be written.
 */
const EXAMINE = `tail -n 1 /proc/mounts | {
  read -r device target type rest
  [ "$type" = fuseblk ] && [ "$(blkid -p -o value -s TYPE "$device")" = ntfs ] || exit 0
  [ "$(blockdev --getro "$device")" = 0 ] && echo hibernated
  :
}`;

interface MountRequest {
  readonly mountable: string;
  readonly mountpoint: string;
  readonly options?: string;
}

/**
 * To be called when an action that mounts for writing has succeeded: undoes a mount that is read-only since Windows is
 * hibernated.
 * @throws GuestfsError NTFS_HIBERNATED
 */
export async function requireMountedAsAsked(request: unknown, ask: Ask): Promise<void> {
  const { mountable, mountpoint, options = '' } = request as MountRequest;
  if (options.split(',').includes('ro')) return;
  if (!(await isReadOnly(mountpoint, ask))) return;
  // Many file systems can only be read, and nobody expects anything else of them.
  const { result } = await ask(debug, { subcmd: 'sh', extraargs: [EXAMINE] });
  if (result.trim() !== 'hibernated') return;
  await ask(umount, { pathordevice: mountpoint, force: undefined, lazyunmount: undefined });
  throw new GuestfsError(
    'NTFS_HIBERNATED',
    `${printable(mountable)} is not mounted: Windows is hibernated, or was shut down with Fast Startup, and writing to its NTFS would damage it: mount it with mount_ro, let Windows shut down completely, or discard the state that Windows saved, with what was not yet written, by mount_options with the option remove_hiberfile`,
  );
}

async function isReadOnly(mountpoint: string, ask: Ask): Promise<boolean> {
  try {
    const { statbuf } = await ask(statvfs, { path: mountpoint });
    return ((statbuf?.flag ?? 0n) & ST_RDONLY) !== 0n;
  } catch (error) {
    // The mount has succeeded, and stays, if the daemon has no answer. That the appliance has ended is for the client.
    if (error instanceof GuestfsError && (error.reason === 'DAEMON_ERROR' || /^E[A-Z0-9]+$/.test(error.reason)))
      return false;
    throw error;
  }
}

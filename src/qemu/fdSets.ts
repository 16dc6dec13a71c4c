/**
 * Open files that qemu is given instead of paths.
 *
 * The server opens images and appliance files with its own rights and hands the
 * descriptors on; qemu then needs no right on any path, and what it opens is
 * exactly what the server checked, whatever happens to the name afterwards.
 */
import type { FileHandle } from 'node:fs/promises';

/** How qemu may use the file; the handle must have been opened that way. */
export type FdAccess = 'read-only' | 'read-write';

/** Collects the open files of one qemu. The caller keeps owning, and closes, the handles. */
export interface FdSets {
  /**
   * Makes an open file known to qemu.
   * @returns the path under which qemu sees it, `/dev/fdset/N`
   */
  add(file: FileHandle, access: FdAccess): string;
}

/**
 * Open files that qemu is given instead of paths.
 *
 * The server opens images and appliance files with its own rights and hands the
 * descriptors on; qemu then needs no right on any path, and what it opens is
 * exactly what the server checked, whatever happens to the name afterwards.
 */
import type { FileHandle } from 'node:fs/promises';

/** Collects the open files of one qemu. The caller keeps owning, and closes, the handles. */
export interface FdSets {
  /**
   * Makes an open file known to qemu, which can do with it what the handle was opened for.
   * @returns the path under which qemu sees it, `/dev/fdset/N`
   */
  add(file: FileHandle): string;
}

/**
 * Open files that are passed to qemu instead of paths.
 *
 * The server opens images and appliance files with its own permissions and passes the
 * descriptors to qemu, which then needs no permission on any path, and uses exactly the
 * file that the server checked, whatever happens to its name afterwards.
 */
import type { FileHandle } from 'node:fs/promises';

/** A connected socket, by its descriptor. */
export interface OpenSocket {
  readonly fd: number;
}

/** Collects the open files for one qemu. The caller still owns the handles, and closes them. */
export interface FdSets {
  /**
   * Adds an open file, which qemu can use with the access mode that the handle was opened with.
   * @returns the path by which qemu opens it, `/dev/fdset/N`
   */
  add(file: FileHandle): string;

  /**
   * Adds a connected socket, which qemu takes over.
   * @returns the `str` of a socket address of type `fd`
   */
  connect(socket: OpenSocket): string;
}

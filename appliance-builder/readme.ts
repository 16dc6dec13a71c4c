/** The file by which libguestfs recognizes a directory as a fixed appliance. */
import type { Manifest } from './manifest.js';

/** Text of `README.fixed`. */
export function readmeFixed(manifest: Manifest): string {
  return `This directory is a fixed appliance for libguestfs and guestfs-grpc.

It holds Debian ${manifest.suite} (${manifest.architecture}): Linux ${manifest.kernelVersion} and guestfsd ${manifest.daemonVersion},
both as built by Debian. ${'`'}kernel${'`'} is the kernel in the form that boots fastest;
${'`'}initrd${'`'} finds and mounts ${'`'}root${'`'}, a disk image. manifest.json lists every
package with its version.

To use it with guestfs-grpc, give its path to --appliance; with libguestfs, run

    export LIBGUESTFS_PATH=<this directory>

The software in it is covered by the licences of the packages. Their sources
are in the Debian archive, in the versions that manifest.json lists.
`;
}

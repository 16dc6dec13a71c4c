/** The file that makes libguestfs take a directory for a fixed appliance. */
import type { Manifest } from './manifest.js';

/** Text of `README.fixed`. */
export function readmeFixed(manifest: Manifest): string {
  return `This directory is a fixed appliance for libguestfs and guestfs-grpc.

It holds Debian ${manifest.suite} (${manifest.architecture}): Linux ${manifest.kernelVersion} and guestfsd ${manifest.daemonVersion},
both as Debian builds them. ${'`'}kernel${'`'} is the kernel in the form that takes the
least time to boot, ${'`'}initrd${'`'} finds and mounts ${'`'}root${'`'}, a disk image. What it is
made of, to the package and version, is in manifest.json.

guestfs-grpc is told of it with --appliance; libguestfs with

    export LIBGUESTFS_PATH=<this directory>

The software in it is under the licences of the packages; their sources are in
the Debian archive under the versions that manifest.json lists.
`;
}

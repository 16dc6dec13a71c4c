/**
 * The initrd: it loads the drivers of the disk that holds the root file
 * system, finds that disk, and hands over to the appliance's own /init.
 */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { packCpio } from './cpio.js';
import { type Kernel, loadOrder } from './kernel.js';
import { INITRD_MODULES, INITRD_NETWORK_MODULES } from './packages.js';

/**
 * The first program. It is written for the static busybox, with as few
 * processes as possible: under emulation each costs tens of milliseconds.
 *
 * The root is given as `root=UUID=...`, and its disk is one among those of
 * guests. These can have any UUID, even that of our root, and the kernel may
 * attach them in any order. So the places where the root belongs are searched
 * first: virtio-blk, where our server attaches it, and the last SCSI address,
 * where libguestfs attaches it. Other disks are considered only if it is in
 * neither place.
 */
export const INIT_SCRIPT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
read -r cmdline </proc/cmdline
root=
network=
for word in $cmdline; do
  case $word in
    root=*) root=\${word#root=} ;;
    guestfs_network=1) network=1 ;;
  esac
done
for module in /modules/*; do insmod $module; done
if [ -n "$network" ]; then
  for module in /network-modules/*; do insmod $module; done
fi

# The UUID as the superblock has it: 16 bytes at offset 1128.
uuid=
case $root in
  UUID=*)
    IFS=-
    for part in \${root#UUID=}; do uuid=$uuid$part; done
    unset IFS
    ;;
esac

is_root() {
  device=$1
  [ -b "$device" ] && [ "$(hexdump -s 1128 -n 16 -e '16/1 "%02x"' "$device")" = "$uuid" ]
}

# Sets last to the SCSI device with the highest address.
find_last_scsi() {
  last=/nowhere
  highest=-1
  for scsi in /sys/bus/scsi/devices/[0-9]*:*; do
    IFS=:
    set -- \${scsi##*/}
    unset IFS
    [ $# -eq 4 ] || continue
    number=$(((($1 * 256 + $2) * 65536 + $3) * 65536 + $4))
    if [ $number -gt $highest ]; then
      highest=$number
      last=$scsi
    fi
  done
}

find_root() {
  if [ -z "$uuid" ]; then
    device=$root
    [ -b "$device" ]
    return
  fi
  for candidate in /dev/vd[a-z]; do
    is_root $candidate && return
  done
  [ -d /sys/bus ] || mount -t sysfs sysfs /sys
  find_last_scsi
  for candidate in $last/block/*; do
    is_root /dev/\${candidate##*/} && return
  done
  [ $tries -gt 100 ] || return 1
  for candidate in /dev/sd*[a-z] /dev/nvme*n[0-9] /dev/vd*[a-z]; do
    is_root $candidate && return
  done
  return 1
}

tries=0
until find_root; do
  tries=$((tries + 1))
  if [ $tries -gt 600 ]; then
    echo "initrd: no disk with the root file system $root appeared within 30 s; disks:"
    cat /proc/partitions
    exit 1
  fi
  usleep 50000
done

# noinit_itable: no thread that writes inode tables nobody will use.
mount -t ext4 -o noatime,noinit_itable $device /root || exit 1
[ -d /sys/bus ] && /bin/busybox umount /sys
/bin/busybox umount /dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /init
`;

/** Makes the initrd of a kernel, with the static busybox at `busybox`. */
export async function makeInitrd(kernel: Kernel, busybox: string): Promise<Buffer> {
  const modules = async (
    directory: string,
    files: readonly string[],
  ): Promise<{ path: string; mode: number; content: Buffer }[]> =>
    Promise.all(
      files.map(async (file, index) => ({
        // The script loads them in the order of their names.
        path: `${directory}/${String(index).padStart(2, '0')}-${basename(file)}`,
        mode: 0o644,
        content: await readFile(join(kernel.modulesDirectory, file)),
      })),
    );
  const early = loadOrder(kernel.modules, INITRD_MODULES);
  const network = loadOrder(kernel.modules, INITRD_NETWORK_MODULES).filter((file) => !early.includes(file));
  const directories = ['bin', 'dev', 'modules', 'network-modules', 'proc', 'root', 'sys'];
  return packCpio([
    ...directories.map((path) => ({ path, mode: 0o755 })),
    { path: 'bin/busybox', mode: 0o755, content: await readFile(busybox) },
    { path: 'init', mode: 0o755, content: Buffer.from(INIT_SCRIPT) },
    ...(await modules('modules', early)),
    ...(await modules('network-modules', network)),
  ]);
}

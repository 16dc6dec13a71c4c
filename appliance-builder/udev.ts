/**
 * Changes to udev in the appliance, apart from the choice of Debian's rules.
 *
 * guestfsd, its /init and LVM rely on udev's programs, and start them often:
 * under emulation most of the time of a small action goes into programs of
 * systemd that find out that there is nothing to do. The programs are moved to
 * another directory; short scripts in their place answer the frequent queries.
 */
import { chmod, copyFile, mkdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';

import { type BuildContext, run } from './command.js';

/** The directory of the programs that scripts replace. */
const PROGRAMS = '/usr/lib/guestfs-grpc';

/**
 * Replaces udevadm(8): waits for udev as `udevadm settle` does, and leaves
 * everything else to the real program. The daemon runs `udevadm settle` in
 * nearly every action that touches a device; if there is nothing to wait for,
 * the real program takes 15 million instructions, mostly to link libsystemd,
 * and this script 1.8 million.
 *
 * Why nothing that happened before the script started can be pending when
 * `settled` succeeds:
 *
 * - Uevents from the kernel, and inotify events for watched devices that were
 *   closed, reach udevd through files that it polls, and wake it before the
 *   system call that caused them returns. A process that has a wchan is off the
 *   run queue, not merely about to sleep, and epoll does not sleep while a file
 *   is readable. So a wchan in epoll means that udevd has received and handled
 *   everything; there is no need to check the sockets. (`udevadm settle` sends
 *   udevd a ping with the lowest priority: the same condition, checked from
 *   within.)
 * - What is received is queued before udevd sleeps again, and
 *   /run/udev/queue exists while the queue is not empty, which includes events
 *   that a worker is handling.
 * - Since systemd 254 a child process of udevd, and not udevd itself, rereads
 *   the partition table after a disk (not a partition) was written. That removes
 *   and adds partitions; the real settle does not wait for it. Any child that
 *   is not a worker counts as pending.
 * - These checks happen at different moments. schedstat counts how often udevd
 *   has run: if the count is the same before and after, all conditions were
 *   true at one moment.
 *
 * With `-E FILE`, if that file exists, the queue does not count: the real
 * program, too, waits only for the answer to its ping then.
 *
 * The shell waits by reading, with a timeout, from a pipe that is never written
 * to: all that competes with the workers for the processor is one check of the
 * queue every hundredth of a second (the first check is only a shortcut that
 * avoids the others). busybox is used because its shell starts as fast as dash,
 * has timeouts, and sleeps without a new process. After five seconds or more,
 * or if udevd cannot be found, the real program takes over. It also handles
 * timeouts that may be shorter, and options that are unknown here.
 *
 * /init runs `udevadm trigger` without arguments: of 260 devices only the ten
 * that are of use are triggered. The others have their nodes in /dev anyway;
 * drivers are loaded for "add" events, which these are not.
 */
export const UDEVADM_SCRIPT = `#!${PROGRAMS}/busybox sh
find_udevd() {
  read -r children </proc/1/task/1/children
  for udevd in $children; do
    read -r name <"/proc/$udevd/comm"
    [ "$name" = systemd-udevd ] && return
  done
  return 1
}

settled() {
  if [ -e /run/udev/queue ]; then
    [ -n "$file" ] && [ -e "$file" ] || return
  fi
  before= after= wchan= children=
  read -r before <"/proc/$udevd/schedstat"
  read -r wchan <"/proc/$udevd/wchan"
  case $wchan in
    *ep_poll* | *epoll_wait*) ;;
    *) return 1 ;;
  esac
  if [ -e /run/udev/queue ]; then
    [ -n "$file" ] && [ -e "$file" ] || return
  fi
  read -r children <"/proc/$udevd/task/$udevd/children"
  for child in $children; do
    read -r name <"/proc/$child/comm"
    [ "$name" = '(udev-worker)' ] || return
  done
  read -r after <"/proc/$udevd/schedstat"
  [ -n "$before" ] && [ "$before" = "$after" ]
}

parse() {
  while [ "$1" = --debug ]; do shift; done
  [ "$1" = settle ] || return
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      -E | --exit-if-exists)
        [ $# -gt 1 ] || return
        shift
        file=$1
        ;;
      --exit-if-exists=*) file=\${1#*=} ;;
      --timeout=[1-9][0-9] | --timeout=[1-9][0-9][0-9]*) ;;
      *) return 1 ;;
    esac
    shift
  done
}

file=
if [ "$*" = trigger ]; then
  set -- trigger --subsystem-match=block --subsystem-match=virtio-ports --subsystem-match=net --subsystem-match=rtc
elif parse "$@" && find_udevd; then
  tries=0
  while [ $tries -lt 500 ]; do
    settled && exit
    tries=$((tries + 1))
    read -r -t 0.01 nothing <>${PROGRAMS}/never
  done
fi 2>/dev/null
exec ${PROGRAMS}/udevadm "$@"
`;

/**
 * Replaces scsi_id, which udev's rules start for every event of a SCSI disk, at
 * 16 million instructions each: prints the same for a disk of qemu, from what
 * the kernel has already read from the disk. Without a serial number there are
 * no pages 80 (serial number) and 83 (identifiers). With one, page 83 has the
 * same text, at most 20 bytes of it, as its only identifier; anything else, a
 * world wide name for example, and any other disk is left to the real program.
 *
 * The pages are binary: read drops the zero bytes, and a length of ten is a
 * newline. That leaves two bytes before the serial number and four before the
 * identifier.
 *
 * The rules of bookworm use --whitelisted, later ones --allowlisted.
 */
export const SCSI_ID_SCRIPT = `#!/bin/sh
real=${PROGRAMS}/scsi_id

page() {
  bytes=
  [ -e "$device/vpd_pg$1" ] || return
  while IFS= read -r line; do
    bytes="$bytes$line~"
  done <"$device/vpd_pg$1"
  bytes=$bytes$line
}

describe() {
  case "$1 $2 $3" in
    '--export --allowlisted -d' | '--export --whitelisted -d') ;;
    *) return 1 ;;
  esac
  device=/sys/class/block/\${4#/dev/}/device
  IFS= read -r vendor <"$device/vendor"
  IFS= read -r model <"$device/model"
  [ "$vendor$model" = 'QEMU    QEMU HARDDISK   ' ] || return
  read -r revision <"$device/rev"
  case $revision in *[!0-9a-zA-Z.+]*) return 1 ;; esac
  page 80
  serial=\${bytes#??}
  page 83
  if [ -z "$serial" ]; then
    [ -z "$bytes" ] || return
  else
    case $serial in *[!0-9a-zA-Z_-]*) return 1 ;; esac
    [ \${#serial} -le 20 ] && [ "\${bytes#????}" = "$serial" ] || return
  fi
  text="ID_SCSI=1
ID_VENDOR=QEMU
ID_VENDOR_ENC=QEMU\\\\x20\\\\x20\\\\x20\\\\x20
ID_MODEL=QEMU_HARDDISK
ID_MODEL_ENC=QEMU\\\\x20HARDDISK\\\\x20\\\\x20\\\\x20
ID_REVISION=$revision
ID_TYPE=disk"
  [ -z "$serial" ] || text="$text
ID_SERIAL=0QEMU_QEMU_HARDDISK_$serial
ID_SERIAL_SHORT=$serial
ID_SCSI_SERIAL=$serial"
  printf '%s\\n' "$text"
}

describe "$@" 2>/dev/null || exec $real "$@"
`;

/**
 * Replaces Debian's 60-block.rules, which turn each "change" of a SCSI device
 * into one of its block device. qemu's disks report two unit attentions when
 * they appear (power on, LUNs changed), so each disk was identified three
 * times; only a new size or medium changes what udev records.
 */
const BLOCK_RULES = `ACTION=="change", SUBSYSTEM=="scsi", ENV{DEVTYPE}=="scsi_device", ENV{SDEV_UA}=="CAPACITY_DATA_HAS_CHANGED", TEST=="block", ATTR{block/*/uevent}="change"
ACTION=="change", SUBSYSTEM=="scsi", ENV{DEVTYPE}=="scsi_device", ENV{SDEV_MEDIA_CHANGE}=="1", TEST=="block", ATTR{block/*/uevent}="change"
ACTION!="remove", SUBSYSTEM=="block", KERNEL=="loop*|nvme*|sd*|vd*|xvd*|bcache*|pmem*|nbd*|rbd*|zram*", OPTIONS+="watch"
`;

/**
 * Each worker is a fork of udevd, and ten are too many for one processor. One is
 * too few: mdadm, started by a rule, waits for the event of the array that it
 * has assembled.
 */
const UDEV_CONF = 'children_max=3\n';

/** Applies all of this to the root tree at `directory`, with the static busybox at `busybox`. */
export async function installUdev(context: BuildContext, directory: string, busybox: string): Promise<void> {
  await mkdir(join(directory, PROGRAMS), { recursive: true });
  await copyFile(busybox, join(directory, PROGRAMS, 'busybox'));
  await run(context, 'mkfifo', [join(directory, PROGRAMS, 'never')]);
  await standIn(directory, '/usr/bin/udevadm', UDEVADM_SCRIPT);
  await standIn(directory, '/usr/lib/udev/scsi_id', SCSI_ID_SCRIPT);
  // One program has both names, and acts according to the name under which it is started.
  const daemon = join(directory, 'usr/lib/systemd/systemd-udevd');
  const target = await readlink(daemon);
  if (!target.endsWith('/udevadm')) throw new Error(`systemd-udevd is a link to ${target}, not to udevadm`);
  await rm(daemon);
  await symlink(relative('/usr/lib/systemd', `${PROGRAMS}/udevadm`), daemon);
  await writeFile(join(directory, 'usr/lib/udev/rules.d/60-guestfs-grpc-block.rules'), BLOCK_RULES);
  await writeFile(join(directory, 'etc/udev/udev.conf'), UDEV_CONF);
}

/** Moves the program at `path` to {@link PROGRAMS} and puts a script in its place. */
async function standIn(directory: string, path: string, script: string): Promise<void> {
  const place = join(directory, path);
  await rename(place, join(directory, PROGRAMS, basename(path)));
  await writeFile(place, script);
  // Not as an option of writeFile, which is subject to the process's umask.
  await chmod(place, 0o755);
}

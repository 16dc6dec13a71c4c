/**
 * What the appliance does about udev besides choosing among Debian's rules.
 *
 * guestfsd, its /init and LVM rely on udev, and start it often: under
 * emulation most of the time of a small action goes into programs of systemd
 * that find out that there is nothing to do. The programs stay, a little out
 * of the way; short scripts in their place answer the frequent questions.
 */
import { chmod, copyFile, mkdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';

import { type BuildContext, run } from './command.js';

/** Where the programs are that a script stands in for. */
const PROGRAMS = '/usr/lib/guestfs-grpc';

/**
 * In place of udevadm(8): waits for udev as `udevadm settle` does, and leaves
 * everything else to the real one. The daemon runs `udevadm settle` in nearly
 * every action that touches a device; the real one costs 15 million
 * instructions when there is nothing to wait for, mostly to be linked with
 * libsystemd, this one 1.8 million.
 *
 * Why nothing that happened before the script started can be pending when
 * `settled` succeeds:
 *
 * - Uevents from the kernel and closed devices under watch (inotify) reach
 *   udevd through files that it polls, and wake it before the system call that
 *   caused them returns. A process that has a wchan is off the run queue, not
 *   merely about to sleep, and epoll does not sleep while a file is readable.
 *   So a wchan in epoll says that all has been received and acted upon; there
 *   is no need to look into the sockets. (`udevadm settle` sends udevd a ping,
 *   which has the lowest priority there: the same condition, from within.)
 * - What is received is queued before udevd sleeps again, and
 *   /run/udev/queue is there as long as the queue is not empty, which includes
 *   events that a worker has in hand.
 * - Since systemd 254 a child process of udevd, and not udevd itself, reads the
 *   partition table again after a whole disk was written. That removes and adds
 *   partitions; the real settle does not wait for it. Any child that is no
 *   worker counts as something pending.
 * - These are several looks, at different moments. schedstat counts how often
 *   udevd has run: if that is the same before and after, all of it was true at
 *   one moment.
 *
 * With `-E FILE`, and that file there, the queue does not count: the real one
 * waits for the answer to its ping only, too.
 *
 * The wait is for a pipe that nobody ever writes to, which the shell does
 * itself: what competes with the workers for the processor then is one look at
 * the queue each hundredth of a second (that first look decides nothing but
 * saves the others). This is what busybox is for, whose shell starts as fast as
 * dash, has timeouts, and sleeps without a new process. After five seconds or
 * more, or if udevd cannot be found, the real one has the word. Timeouts that
 * may be shorter, and options not known here, are its business from the start.
 *
 * `udevadm trigger` without arguments is what /init runs: of 260 devices the
 * ten are triggered that somebody has a use for. The nodes of the others are
 * in /dev anyway; drivers come with "add" events, which these are not.
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
 * In place of scsi_id, which udev's rules start for every event of a SCSI disk,
 * for 16 million instructions: what it would say of a disk of qemu, out of what
 * the kernel has read from the disk already. Without a serial number there are
 * no pages 80 (serial number) and 83 (identifiers). With one, page 83 has the
 * same text as its only identifier, at most 20 bytes of it; anything else, a
 * world wide name for example, and any other disk is left to the real one.
 *
 * The pages are binary: read drops the zero bytes, and a length of ten is a
 * newline. What is left are two bytes before the serial number and four before
 * the identifier.
 *
 * The rules of bookworm say --whitelisted, later ones --allowlisted.
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
 * Instead of Debian's 60-block.rules. That one turns each "change" of a SCSI
 * device into one of its block device. qemu's disks report two unit attentions
 * when they appear (power on, LUNs changed), so that each disk was identified
 * three times; only a new size or medium changes what there is to know.
 */
const BLOCK_RULES = `ACTION=="change", SUBSYSTEM=="scsi", ENV{DEVTYPE}=="scsi_device", ENV{SDEV_UA}=="CAPACITY_DATA_HAS_CHANGED", TEST=="block", ATTR{block/*/uevent}="change"
ACTION=="change", SUBSYSTEM=="scsi", ENV{DEVTYPE}=="scsi_device", ENV{SDEV_MEDIA_CHANGE}=="1", TEST=="block", ATTR{block/*/uevent}="change"
ACTION!="remove", SUBSYSTEM=="block", KERNEL=="loop*|nvme*|sd*|vd*|xvd*|bcache*|pmem*|nbd*|rbd*|zram*", OPTIONS+="watch"
`;

/**
 * Each worker is a fork of udevd, and one processor has no use for ten. Not
 * one either: mdadm, started by a rule, waits for the event of the array that
 * it has assembled.
 */
const UDEV_CONF = 'children_max=3\n';

/** Puts all of this into the root tree at `directory`, with the static busybox at `busybox`. */
export async function installUdev(context: BuildContext, directory: string, busybox: string): Promise<void> {
  await mkdir(join(directory, PROGRAMS), { recursive: true });
  await copyFile(busybox, join(directory, PROGRAMS, 'busybox'));
  await run(context, 'mkfifo', [join(directory, PROGRAMS, 'never')]);
  await standIn(directory, '/usr/bin/udevadm', UDEVADM_SCRIPT);
  await standIn(directory, '/usr/lib/udev/scsi_id', SCSI_ID_SCRIPT);
  // One program has both names, and goes by that under which it is started.
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
  // Not as an option of writeFile, which the process's umask would narrow.
  await chmod(place, 0o755);
}

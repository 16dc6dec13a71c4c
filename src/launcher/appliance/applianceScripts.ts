/**
 * Work in an appliance for which the daemon has no procedure: after its machine was restored, and
 * when drives are attached and detached. These are shell scripts for the daemon's `debug sh`, so that they run
 * in any appliance. They are written in POSIX sh, with built-in commands where possible: starting a program takes
 * an emulated appliance 10 to 30 ms.
 */

/** The name that Linux gives the SCSI disk with this number: sda, ..., sdz, sdaa, ... */
export function diskName(index: number): string {
  let letters = '';
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26))
    letters = String.fromCharCode(97 + ((rest - 1) % 26)) + letters;
  return `sd${letters}`;
}

/** Linux 5.18 and later, drivers/char/random.c, when the virtual machine's generation ID changes. */
const RESEED_MESSAGE = 'crng reseeded due to virtual machine fork';

/** File that this message is copied to as soon as it appears. */
const RESEEDED = '/run/crng-reseeded';
/** File mounted over /proc/sys/kernel/random/boot_id. */
const BOOT_ID = '/run/boot-id';
/** File mounted over /etc/machine-id: in memory, so that no clone writes to its root disk for it. */
const MACHINE_ID = '/run/machine-id';
/** File with the name of the virtual random number generator on its bus; empty if there is none. */
const RNG = '/run/rng';
/** File with the number of the SCSI host to which drives are attached. */
const HOST = '/run/scsi-host';

/** What distinguishes a clone from its template and from other clones. */
export interface Identity {
  /** Seconds since 1970, with a fraction. */
  readonly time: number;
  /** 32 hexadecimal digits, for /etc/machine-id. */
  readonly machineId: string;
  /** UUID, for /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
}

const RNG_DRIVER = '/sys/bus/virtio/drivers/virtio_rng';

/**
 * The driver of the virtual random number generator prefetches bytes, which every clone would return
 * first from /dev/hwrng. So the driver is unbound from the device before the machine is saved...
 */
const UNBIND_RNG = `
echo >${RNG}
for rng in ${RNG_DRIVER}/virtio*; do
  [ ! -e "$rng" ] || { echo "\${rng##*/}" >${RNG}; echo "\${rng##*/}" >${RNG_DRIVER}/unbind; }
done`;

/** ... and bound again in each clone, as soon as it is resumed. */
const BIND_RNG = `
read -r rng <${RNG}
[ -z "$rng" ] || [ -e "${RNG_DRIVER}/$rng" ] || echo "$rng" >${RNG_DRIVER}/bind`;

/**
 * Sets the clock and the unique IDs, and waits until the kernel has reseeded its random number
 * generator, which it does some milliseconds after it was restored.
 */
function assumeIdentity({ time, machineId, bootId }: Identity): string {
  return `
date -u -s @${time.toFixed(3)} >/dev/null${BIND_RNG}
echo ${machineId} >${MACHINE_ID}
echo ${bootId} >${BOOT_ID}
tries=0
until [ -s ${RESEEDED} ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail "the kernel did not reseed its random number generator"
  sleep 0.05
done`;
}

/**
 * Prepares for {@link assumeIdentity}. Done before the machine is saved, since it starts programs.
 *
 * The kernel creates its boot ID once, when it is first read; it can only be hidden by a bind mount.
 * The kernel announces in its log that it has reseeded its random number generator.
 */
const PREPARE_IDENTITY_CHANGE = `
cat /proc/sys/kernel/random/boot_id >${BOOT_ID} && mount --bind ${BOOT_ID} /proc/sys/kernel/random/boot_id || fail "cannot mount over the boot ID"
[ -e /etc/machine-id ] || : >/etc/machine-id
cat /etc/machine-id >${MACHINE_ID} && mount --bind ${MACHINE_ID} /etc/machine-id || fail "cannot mount over the machine ID"
echo "$host" >${HOST}
grep -m1 "${RESEED_MESSAGE}" /dev/kmsg >${RESEEDED} 2>/dev/null </dev/null &`;

/** Fails unless the kernel can detect that it was restored: its generation ID driver must be bound to the device. */
const REQUIRE_GENERATION_ID =
  'set -- /sys/bus/*/drivers/vmgenid/*:*; [ -e "$1" ] || fail "the kernel of this appliance has no driver for the generation ID (vmgenid), so its clones would share random numbers"';

const FAIL = `
fail() { echo "$*" >&2; exit 1; }
devices=/sys/bus/scsi/devices`;

/** The start of every script. */
const PRELUDE = `${FAIL}
for host in /sys/class/scsi_host/host*; do
  read -r driver <"$host/proc_name"
  case $driver in *virtio_scsi*) break;; esac
done
host=\${host##*host}`;

/** The start of the script in a clone, whose template has found the host: reading files costs it most. */
const CLONE_PRELUDE = `${FAIL}
read -r host <${HOST}`;

/** A disk: its SCSI target, and the name that the kernel should give it. */
export interface Disk {
  readonly index: number;
  readonly name: string;
}

/**
 * Discovers these disks, in this order.
 *
 * The kernel probes a new disk in the background and does not report completion. Binding the driver
 * explicitly solves this: it either probes the disk itself, or waits for the background probe, since both
 * take the device's lock. Afterwards the disk has its name, its partitions are known, and udev has been notified.
 */
function findDisks(disks: readonly Disk[]): string {
  return `
for disk in ${disks.map(({ index, name }) => `${index}:${name}`).join(' ')}; do
  id=\${disk%:*}
  name=\${disk#*:}
  echo "0 $id 0" >"/sys/class/scsi_host/host$host/scan"
  { echo "$host:0:$id:0" >/sys/bus/scsi/drivers/sd/bind; } 2>/dev/null || :
  [ -e "$devices/$host:0:$id:0/block/$name" ] || fail "drive $id was not discovered as $name"
  echo 300 >"$devices/$host:0:$id:0/timeout"
done
udevadm settle`;
}

/** Matches entries of udev's database for members of a volume group, a RAID array, or a Windows dynamic disk (MBR or GPT). */
const MEMBER =
  'ID_FS_TYPE=(LVM2_member|[^ ]*_raid_member)|ID_PART_ENTRY_TYPE=(0x42|5808c8aa-7e8f-42e0-85d2-e1e90434cfb3|af9b60a0-1431-4f62-bc68-3311714a69ad)';

/**
 * Starts the arrays of which too few members are there. udev has assembled them when it saw the first member, and
 * waits for the others, so that `mdadm -As --run` finds their members in use. They start read-only, and become
 * writable with the first write: until then a member is not marked as newer than those that are missing.
 */
const RUN_INCOMPLETE_ARRAYS = `
started=
while read -r array colon state rest; do
  [ "$state" = inactive ] || continue
  echo 1 >/sys/module/md_mod/parameters/start_ro
  mdadm --run "/dev/$array" && started=yes
  echo 0 >/sys/module/md_mod/parameters/start_ro
done </proc/mdstat
if [ -n "$started" ]; then
  udevadm settle
  lvm pvscan --cache --activate ay || lvm vgchange -aay --sysinit || :
fi`;

/** Run in an appliance that has booted by itself, which leaves incomplete arrays as they are. */
export const AFTER_BOOT_SCRIPT = `{
[ -e /proc/mdstat ] || exit 0
${RUN_INCOMPLETE_ARRAYS}
} >/dev/null 2>&1
:`;

/**
 * Activates volume groups, RAID arrays and dynamic disks as libguestfs's init does at boot (appliance/init), but only
 * those of which udev has found a member: `entries` lists the files of its database for the new disks.
 *
 * A kernel with CONFIG_LDM_PARTITION, such as Debian's, creates the partitions of a dynamic disk with an MBR from the
 * records of the Logical Disk Manager. They are not in the MBR, so udev has no type for them.
 */
const ACTIVATE = `
found=$(grep -Ehos '^E:(${MEMBER}|ID_PART_TABLE_TYPE=dos)' $entries) || :
case $found in *ID_PART_TABLE_TYPE=dos*)
  for entry in $(grep -Ls '^E:ID_PART_ENTRY_TYPE=' $entries); do
    [ ! -e "/sys/dev/block/\${entry##*/b}/partition" ] || found="$found ID_PART_ENTRY_TYPE"
  done;;
esac
case $found in *_raid_member*)
  mdadm -As --auto=yes --no-degraded || :
  udevadm settle;;
esac
case $found in *_raid_member* | *LVM2_member*)
  lvm pvscan --cache --activate ay || lvm vgchange -aay --sysinit || :;;
esac
case $found in *_raid_member*)
  mdadm -As --auto=yes --run || :
  [ ! -e /proc/mdstat ] || {
${RUN_INCOMPLETE_ARRAYS}
  };;
esac
case $found in *ID_PART_ENTRY_TYPE*) ldmtool create all || :;; esac
case $found in *_raid_member* | *LVM2_member* | *ID_PART_ENTRY_TYPE*) udevadm settle;; esac`;

/** Files of udev's database for all block devices. */
const ALL_ENTRIES = 'entries="/run/udev/data/b*"';

/** Those for one disk and its partitions. */
function entriesOf(name: string): string {
  return `entries=/dev/null
for dev in /sys/block/${name}/dev /sys/block/${name}/*/dev; do
  { read -r number <"$dev"; } 2>/dev/null && entries="$entries /run/udev/data/b$number"
done`;
}

/** Run in a clone when it has been resumed with its drives attached: gives it its identity and activates the drives. */
export function resumeScript(identity: Identity, drives: number): string {
  const disks = Array.from({ length: drives }, (_, index) => ({ index, name: diskName(index) }));
  return `${CLONE_PRELUDE}${assumeIdentity(identity)}${attach(disks, ALL_ENTRIES)}`;
}

/** Run in an appliance after a drive has been hot-plugged. */
export function attachScript(disk: Disk): string {
  return `${PRELUDE}${attach([disk], entriesOf(disk.name))}`;
}

function attach(disks: readonly Disk[], entries: string): string {
  // The output of the tools is not needed.
  return `${findDisks(disks)}
{
${entries}${ACTIVATE}
} >/dev/null 2>&1`;
}

/** Error of {@link detachScript} if the disk is in use; the users of the disk may follow. */
export const IN_USE = 'the drive is in use';

/**
 * Run in an appliance before a drive is unplugged: flushes the disk, removes it from the kernel, and prints its name.
 *
 * No user of a disk goes unnoticed: file systems, swap, LVM, MD and dm-crypt claim the disk or one of its partitions
 * exclusively, and the kernel then refuses to re-read the partition table. (Older kernels do so for partitions
 * only, but users of an entire disk are among its holders or mounts.)
 */
export function detachScript(index: number): string {
  return `${PRELUDE}
disk=
for entry in "$devices/$host:0:${index}:0/block/"*; do disk=$entry; done
[ -e "$disk" ] || fail "there is no drive ${index}"
name=\${disk##*/}
uses=
while read -r source where rest; do
  where=\${where#/sysroot}
  case $source in "/dev/$name" | "/dev/$name"[0-9]*) uses="$uses, mounted on \${where:-/}";; esac
done </proc/mounts
while read -r source rest; do
  case $source in "/dev/$name" | "/dev/$name"[0-9]*) uses="$uses, swap";; esac
done </proc/swaps
for holder in "$disk/holders/"* "$disk/$name"*/holders/*; do
  [ -e "$holder" ] || continue
  { read -r user <"$holder/dm/name"; } 2>/dev/null || user=\${holder##*/}
  uses="$uses, part of $user"
done
[ -z "$uses" ] || fail "${IN_USE}$uses"
udevadm settle
output=$(blockdev --rereadpt "/dev/$name" 2>&1) || case $output in *busy*) fail "${IN_USE}";; esac
output=$(dd if=/dev/null of="/dev/$name" conv=notrunc,fsync 2>&1) || fail "cannot flush the disk: $output"
echo 1 >"$devices/$host:0:${index}:0/delete"
udevadm settle
echo "$name"`;
}

const DETACH_DISK = `
echo 1 >"$devices/$host:0:0:0/delete"
udevadm settle`;

/**
 * Run before a machine is saved: discovers one disk and removes it again. What the first disk needs
 * (kernel modules, programs in the page cache) is then loaded in every clone.
 */
export function warmUpScript(): string {
  return `${PRELUDE}
${REQUIRE_GENERATION_ID}${attach([{ index: 0, name: diskName(0) }], ALL_ENTRIES)}
date -u >/dev/null${DETACH_DISK}${PREPARE_IDENTITY_CHANGE}${UNBIND_RNG}
sync`;
}

/** What {@link resumeScript} does for one disk, which is then removed again. */
export function cloneWarmUpScript(identity: Identity): string {
  return `${resumeScript(identity, 1)}${DETACH_DISK}`;
}

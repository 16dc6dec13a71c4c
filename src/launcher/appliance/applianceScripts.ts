/**
 * What an appliance has to do that no procedure of the daemon does: when its machine was restored, and
 * when drives come and go. Shell scripts for the daemon's own `debug sh`, so that any appliance
 * will do. POSIX sh; starting a program takes an emulated appliance 10 to 30 ms, what the shell does
 * itself next to nothing.
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

/** Where that message is copied to as soon as it appears. */
const RESEEDED = '/run/crng-reseeded';
/** What /proc/sys/kernel/random/boot_id shows. */
const BOOT_ID = '/run/boot-id';

/** What makes a clone another machine than its template. */
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
 * The driver of the virtual random number generator fetches bytes in advance, which every clone
 * would give out first from /dev/hwrng: so it lets the device go before the machine is saved...
 */
const RELEASE_RNG = `
for rng in ${RNG_DRIVER}/virtio*; do
  [ ! -e "$rng" ] || echo "\${rng##*/}" >${RNG_DRIVER}/unbind
done`;

/** ... and takes it again in each clone, when it first arrives. */
const TAKE_RNG = `
for rng in /sys/bus/virtio/devices/virtio*; do
  read -r type <"$rng/device"
  [ "$type" != 0x0004 ] || [ -e "$rng/driver" ] || [ ! -e ${RNG_DRIVER}/bind ] || echo "\${rng##*/}" >${RNG_DRIVER}/bind
done`;

/**
 * Sets the clock and the names that nobody else may have, and waits until the kernel has taken
 * new random numbers, which it does some milliseconds after it was restored.
 */
function becomeAnother({ time, machineId, bootId }: Identity): string {
  return `
date -u -s @${time.toFixed(3)} >/dev/null${TAKE_RNG}
echo ${machineId} >/etc/machine-id
echo ${bootId} >${BOOT_ID}
tries=0
until [ -s ${RESEEDED} ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail "the kernel did not take new random numbers"
  sleep 0.05
done`;
}

/**
 * What {@link becomeAnother} relies on, done before the machine is saved, since it needs programs.
 *
 * The kernel makes its boot ID once, when it is first read: it can only be covered. That it has
 * taken new random numbers it tells its log.
 */
const PREPARE_TO_BECOME_ANOTHER = `
cat /proc/sys/kernel/random/boot_id >${BOOT_ID} && mount --bind ${BOOT_ID} /proc/sys/kernel/random/boot_id || fail "the boot ID cannot be covered"
grep -m1 "${RESEED_MESSAGE}" /dev/kmsg >${RESEEDED} 2>/dev/null </dev/null &`;

/** Fails unless the kernel will notice that it was restored: it has a driver for the generation ID, and the driver the device. */
const REQUIRE_GENERATION_ID =
  'set -- /sys/bus/*/drivers/vmgenid/*:*; [ -e "$1" ] || fail "the kernel of this appliance has no driver for the generation ID (vmgenid), so that clones of it would share random numbers"';

/** The words that a script starts with. */
const PRELUDE = `
fail() { echo "$*" >&2; exit 1; }
for host in /sys/class/scsi_host/host*; do
  read -r driver <"$host/proc_name"
  case $driver in *virtio_scsi*) break;; esac
done
host=\${host##*host}
devices=/sys/bus/scsi/devices`;

/** A disk by its SCSI target and the name that the kernel is to give it. */
export interface Disk {
  readonly index: number;
  readonly name: string;
}

/**
 * Finds these disks, in this order.
 *
 * The kernel probes a new disk in the background. That nothing tells when this has ended is why the
 * driver is bound here: either this probes the disk, or it waits for who does so, since both hold
 * the device's lock. After it the disk has its name, its partitions are known and udev has been told.
 */
function findDisks(disks: readonly Disk[]): string {
  return `
for disk in ${disks.map(({ index, name }) => `${index}:${name}`).join(' ')}; do
  id=\${disk%:*}
  name=\${disk#*:}
  echo "0 $id 0" >"/sys/class/scsi_host/host$host/scan"
  { echo "$host:0:$id:0" >/sys/bus/scsi/drivers/sd/bind; } 2>/dev/null || :
  [ -e "$devices/$host:0:$id:0/block/$name" ] || fail "drive $id did not become $name"
  echo 300 >"$devices/$host:0:$id:0/timeout"
done
udevadm settle`;
}

/** In udev's database: a member of a volume group, of an array, or of a dynamic disk of Windows, on an MBR or a GPT. */
const CONTAINED =
  'ID_FS_TYPE=(LVM2_member|[^ ]*_raid_member)|ID_PART_ENTRY_TYPE=(0x42|5808c8aa-7e8f-42e0-85d2-e1e90434cfb3|af9b60a0-1431-4f62-bc68-3311714a69ad)';

/**
 * Starts volume groups, arrays and dynamic disks as libguestfs's init does when it boots (appliance/init),
 * where there is something to start: in what udev knows, which `entries` has, of the disks that came.
 *
 * A kernel with CONFIG_LDM_PARTITION, as Debian's, makes the partitions of a dynamic disk with an MBR from the records
 * of Windows' manager: they are none of the MBR's, and udev knows no type of theirs.
 */
const ACTIVATE = `
found=$(grep -Ehos '^E:(${CONTAINED}|ID_PART_TABLE_TYPE=dos)' $entries) || :
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
case $found in *_raid_member*) mdadm -As --auto=yes --run || :;; esac
case $found in *ID_PART_ENTRY_TYPE*) ldmtool create all || :;; esac
case $found in *_raid_member* | *LVM2_member* | *ID_PART_ENTRY_TYPE*) udevadm settle;; esac`;

/** Files of udev's database on all block devices. */
const ALL_ENTRIES = 'entries="/run/udev/data/b*"';

/** Those on one disk and its partitions. */
function entriesOf(name: string): string {
  return `entries=/dev/null
for dev in /sys/block/${name}/dev /sys/block/${name}/*/dev; do
  { read -r number <"$dev"; } 2>/dev/null && entries="$entries /run/udev/data/b$number"
done`;
}

/** All that a clone does when its drives have been attached. */
export function arrival(identity: Identity, drives: number): string {
  const disks = Array.from({ length: drives }, (_, index) => ({ index, name: diskName(index) }));
  return `${PRELUDE}${becomeAnother(identity)}${attach(disks, ALL_ENTRIES)}`;
}

/** What an appliance does when one more drive has been attached. */
export function appearance(disk: Disk): string {
  return `${PRELUDE}${attach([disk], entriesOf(disk.name))}`;
}

function attach(disks: readonly Disk[], entries: string): string {
  // What the tools say about what they find is for nobody.
  return `${findDisks(disks)}
{
${entries}${ACTIVATE}
} >/dev/null 2>&1`;
}

/** What {@link departure} says of a disk that is in use; what uses it may follow. */
export const IN_USE = 'the drive is in use';

/**
 * What an appliance does before a drive is taken away: writes out what it holds, lets go of the disk, and tells its name.
 *
 * Nobody who uses a disk can miss: file systems, swap, LVM, MD and dm-crypt claim it or one of its partitions for
 * themselves, and then the kernel refuses to read the partition table again. (Older kernels do so for partitions
 * only; what uses a whole disk is among its holders or mounts.)
 */
export function departure(index: number): string {
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
said=$(blockdev --rereadpt "/dev/$name" 2>&1) || case $said in *busy*) fail "${IN_USE}";; esac
said=$(dd if=/dev/null of="/dev/$name" conv=notrunc,fsync 2>&1) || fail "what was written cannot be brought to the disk: $said"
echo 1 >"$devices/$host:0:${index}:0/delete"
udevadm settle
echo "$name"`;
}

const LET_GO = `
echo 1 >"$devices/$host:0:0:0/delete"
udevadm settle`;

/**
 * Before a machine is saved: finds one disk and lets it go. What the first disk brings with it
 * (modules, programs read from the appliance's root) is then there in every clone.
 */
export function rehearsal(): string {
  return `${PRELUDE}
${REQUIRE_GENERATION_ID}${attach([{ index: 0, name: diskName(0) }], ALL_ENTRIES)}
date -u >/dev/null${LET_GO}${PREPARE_TO_BECOME_ANOTHER}${RELEASE_RNG}
sync`;
}

/** All that a clone does on its arrival, with one disk, which it lets go. */
export function arrivalRehearsal(identity: Identity): string {
  return `${arrival(identity, 1)}${LET_GO}`;
}

/** The system whose inspection the daemon has given up, and with it that of all others: found, mended, or hidden from it. */
import { debug } from '../../../../gen/calls/debug.js';
import { inspectOs } from '../../../../gen/calls/inspection.js';
import { mount, mountOptions, umountAll } from '../../../../gen/calls/mount.js';
import { GuestfsError } from '../../../common/errors.js';
import { unlessDaemonFails } from '../../tolerance.js';
import type { ActionCalls } from '../actionCalls.js';
import { lines, word, words } from '../shell.js';
import type { Warnings } from '../warnings.js';
import { mendConfigFiles } from './configFiles.js';
import { mendWindows, type WindowsFacts } from './windows.js';

/** Devices whose name has no slash after /dev/; those of logical volumes and mapped devices have one. */
const WHOLE_NAME = /^(?:[hsv]d[a-z]+[0-9]*|md[0-9]+(?:p[0-9]+)?|dm-[0-9]+)$/;

/** The device that a file system is on. */
export function deviceOf(mountable: string): string {
  if (!mountable.startsWith('btrfsvol:')) return mountable;
  // A volume can be in a directory, and a logical volume has a slash in its name.
  const parts = mountable.slice('btrfsvol:/dev/'.length).split('/');
  return `/dev/${parts.slice(0, WHOLE_NAME.test(parts[0] ?? '') ? 1 : 2).join('/')}`;
}

/** Prints the device, of these, that is mounted where the daemon examines systems, and the options of the mount. */
const mounted = (devices: readonly string[]): string => `
source=
while read -r source target type options rest; do [ "$target" != /sysroot ] || break; source=; done </proc/mounts
[ -n "$source" ] || exit 0
here=$(readlink -f "$source")
for device in ${words(devices)}; do
  [ "$(readlink -f "$device")" != "$here" ] || { printf '%s\\n%s\\n' "$device" "$options"; break; }
done`;

/** The file system that the daemon was examining when it gave up: it leaves it mounted. */
export async function findCulprit(
  actions: ActionCalls,
  mountables: readonly string[],
  warnings: Warnings,
): Promise<string | undefined> {
  const devices = [...new Set(mountables.map(deviceOf))];
  const output = await warnings.attempt({
    field: 'roots',
    action: debug.action,
    isCut: true,
    ask: () => actions.script(mounted(devices)),
  });
  const [device, options] = lines(output ?? '');
  if (device === undefined) return undefined;
  // The kernel writes spaces and the like as octal numbers.
  const subvolume = /(?:^|,)subvol=\/?([^,]*)/
    .exec(options ?? '')?.[1]
    ?.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  const volume = `btrfsvol:${device}/${subvolume ?? ''}`;
  return mountables.includes(volume) ? volume : device;
}

/** What became of a culprit. */
export interface Mended {
  readonly isMended: boolean;
  readonly windows: WindowsFacts | undefined;
}

/** Mends a system on the drive's overlay, as far as it can be. */
export async function mendSystem(actions: ActionCalls, mountable: string, warnings: Warnings): Promise<Mended> {
  await actions.call(umountAll, {});
  if ((await unlessDaemonFails(mountForMending(actions, mountable))) === undefined)
    return { isMended: false, windows: undefined };
  const question = { field: 'roots', action: inspectOs.action, isCut: true } as const;
  const config = await warnings.attempt({ ...question, ask: () => mendConfigFiles(actions, mountable, warnings) });
  const windows = await warnings.attempt({
    ...question,
    ask: async () => ({ facts: await mendWindows(actions, mountable, warnings) }),
  });
  await actions.call(umountAll, {});
  return { isMended: config === true || windows?.facts !== undefined, windows: windows?.facts };
}

/** What a hibernated Windows has saved is discarded, on the overlay. */
async function mountForMending(actions: ActionCalls, mountable: string): Promise<true> {
  try {
    await actions.call(mount, { mountable, mountpoint: '/' });
  } catch (error) {
    if (!(error instanceof GuestfsError) || error.reason !== 'NTFS_HIBERNATED') throw error;
    await actions.call(mountOptions, { options: 'remove_hiberfile', mountable, mountpoint: '/' });
  }
  return true;
}

/** Options and device for mount(8). */
export function mountWords(mountable: string): string {
  const device = deviceOf(mountable);
  if (device === mountable) return word(device);
  return `-o ${word(`subvol=${mountable.slice(`btrfsvol:${device}/`.length)}`)} ${word(device)}`;
}

const HIDING_PLACE = '.hidden-from-inspection';

/**
 * Hides a file system from the daemon: a device-mapper device claims its device, so that it cannot be mounted. That would
 * keep the daemon from listing the subvolumes of a Btrfs: there, it is /etc that is renamed.
 */
const hide = (mountable: string, type: string, name: string): string =>
  type === 'btrfs'
    ? onBtrfs(mountable, `mv "$held/etc" "$held/${HIDING_PLACE}"`)
    : `device=${word(mountable)}\ndmsetup create ${name} --readonly --table "0 1 linear $device 0"`;

const unhide = (mountable: string, type: string, name: string): string =>
  type === 'btrfs'
    ? onBtrfs(mountable, `mv "$held/${HIDING_PLACE}" "$held/etc"`)
    : `udevadm settle; dmsetup remove --retry ${name}`;

function onBtrfs(mountable: string, script: string): string {
  return `
held=/run/inspected-hidden
mkdir -p $held
mount ${mountWords(mountable)} $held || exit 1
${script}
code=$?
umount $held
exit $code`;
}

/** Hides a file system from the daemon. Returns what undoes it; undefined if it cannot be hidden. */
export async function hideSystem(
  actions: ActionCalls,
  mountable: string,
  type: string,
  index: number,
): Promise<(() => Promise<unknown>) | undefined> {
  await actions.call(umountAll, {});
  const name = `inspected-hidden-${index}`;
  const hidden = await unlessDaemonFails(actions.script(hide(mountable, type, name)));
  if (hidden === undefined) return undefined;
  return () => unlessDaemonFails(actions.script(unhide(mountable, type, name)));
}

/** A system whose file systems are mounted, read-only. */
import { debug } from '../../../gen/calls/debug.js';
import { mountRo, umountAll } from '../../../gen/calls/mount.js';
import type { ActionCalls } from './actionCalls.js';
import type { FoundSystem } from './foundSystem.js';
import { mountWords } from './mending/culprit.js';
import { word } from './shell.js';
import type { Warnings } from './warnings.js';

/** With the root; a crafted fstab can name any number. */
const MAX_MOUNTS = 64;

/** Mounts a directory of a file system as the guest's root; links in it were resolved when it was found. */
const enter = ({ root, directory }: FoundSystem): string => `
below=/run/inspected-below
mkdir -p $below
mount -o ro ${mountWords(root)} $below || exit 1
mount --bind "$below"${word(directory)} /sysroot || { umount $below; exit 1; }`;

const LEAVE = 'umount /run/inspected-below';

/** True for a system that is a directory of its file system. */
const isBelow = ({ directory }: FoundSystem): boolean => directory !== '/' && directory !== '/usr';

/** Mounts the root of a system, whatever its fstab says; true if it is mounted. */
export async function mountRoot(actions: ActionCalls, system: FoundSystem, warnings: Warnings): Promise<boolean> {
  const mounted = await warnings.attempt({
    field: 'mountpoints[/]',
    action: isBelow(system) ? debug.action : mountRo.action,
    ask: async () =>
      isBelow(system)
        ? actions.script(enter(system))
        : actions.call(mountRo, { mountable: system.root, mountpoint: '/' }),
  });
  return mounted !== undefined;
}

/** Mounts the other file systems, in an order in which each mount point exists. */
export async function mountOthers(
  actions: ActionCalls,
  mountpoints: ReadonlyMap<string, string>,
  warnings: Warnings,
): Promise<void> {
  const order = [...mountpoints]
    .filter(([mountpoint]) => mountpoint !== '/')
    .sort(([one], [other]) => one.length - other.length);
  const most = MAX_MOUNTS - 1;
  for (const [mountpoint, mountable] of order.slice(0, most)) {
    await warnings.attempt({
      field: `mountpoints[${mountpoint}]`,
      action: mountRo.action,
      ask: () => actions.call(mountRo, { mountable, mountpoint }),
    });
  }
  if (order.length > most)
    warnings.add(
      'mountpoints',
      mountRo.action,
      'MESSAGE_TOO_LARGE',
      `${order.length - most} of them are not mounted: at most ${MAX_MOUNTS} are`,
    );
}

/** Unmounts the system. */
export async function unmount(actions: ActionCalls, system: FoundSystem, warnings: Warnings): Promise<void> {
  await warnings.attempt({ field: '', action: umountAll.action, ask: () => actions.call(umountAll, {}) });
  if (isBelow(system)) await warnings.attempt({ field: '', action: debug.action, ask: () => actions.script(LEAVE) });
}

/** What makes the success of an action a promise that data outlives the appliance, the server and its host. */
import { sync } from '../../gen/calls/filesystem.js';
import type { ActionDef } from '../actions/types.js';
import type { Machine } from '../launcher/launcher.js';
import type { Daemon } from './daemon.js';
import type { SessionDrives } from './sessionDrives.js';

/**
 * Completes an action that promises durability: what it wrote is in the appliance's disks, but these have caches, which
 * only some file systems flush when they are unmounted, and none does when a device is closed.
 * @throws GuestfsError as {@link SessionDrives.requireSound}, or the daemon's
 */
export async function keepPromise(
  { promisesDurability }: ActionDef,
  daemon: Daemon,
  drives: SessionDrives,
  machine: Machine,
): Promise<void> {
  if (promisesDurability === 'synced' && drives.written.length > 0) await daemon.call(sync, {});
  await drives.requireSound(machine, 'all drives');
}

/** The applications of a system, in batches. */
import { mountRo, umountAll } from '../../../gen/calls/mount.js';
import type { InspectedApplications } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../../common/errors.js';
import { isDaemonError } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';
import { fitting, MAX_LIST, sizeOf } from './limits.js';
import type { Warnings } from './warnings.js';

/** A crafted fstab can name any number. */
const MAX_MOUNTS = 64;

/** The file systems to mount, the root's first, in an order in which each mount point exists. */
function mountOrder(
  root: string,
  mountpoints: ReadonlyMap<string, string>,
): (readonly [mountpoint: string, mountable: string])[] {
  return [...new Map([['/', root], ...mountpoints])].sort(([one], [other]) => one.length - other.length);
}

/** Mounts a system read-only, according to its own configuration. */
async function mountSystem(
  actions: ActionCalls,
  root: string,
  mountpoints: ReadonlyMap<string, string>,
  warnings: Warnings,
): Promise<void> {
  const order = mountOrder(root, mountpoints);
  for (const [mountpoint, mountable] of order.slice(0, MAX_MOUNTS)) {
    await warnings.attempt({
      field: `mountpoints[${mountpoint}]`,
      action: mountRo.action,
      ask: () => actions.call(mountRo, { mountable, mountpoint }),
    });
  }
  if (order.length > MAX_MOUNTS)
    warnings.add(
      'mountpoints',
      mountRo.action,
      'MESSAGE_TOO_LARGE',
      `${order.length - MAX_MOUNTS} of them are not mounted: at most ${MAX_MOUNTS} are`,
    );
}

/** The list; empty, with a warning, if it is not available. */
async function list(actions: ActionCalls, root: string, warnings: Warnings): Promise<readonly Application2[]> {
  try {
    return (await actions.library('inspect_list_applications2', root)).applications2;
  } catch (error) {
    if (!isDaemonError(error) && !(error instanceof GuestfsError && error.reason === 'MESSAGE_TOO_LARGE')) throw error;
    const { reason, message } = GuestfsError.from(error);
    warnings.add('applications', 'inspect_list_applications2', reason, message);
    return [];
  }
}

/** A batch, and the rest of the list. */
function batchOf(applications: readonly Application2[]): {
  readonly batch: readonly Application2[];
  readonly rest: readonly Application2[];
} {
  const batch = fitting(applications);
  return { batch, rest: applications.slice(batch.length) };
}

/**
 * Batches of a system's applications, at least one. The system is mounted while the list is read, and
 * unmounted before the first batch.
 */
export async function* describeApplications(
  actions: ActionCalls,
  root: string,
  mountpoints: ReadonlyMap<string, string>,
  warnings: Warnings,
): AsyncGenerator<InspectedApplications> {
  await mountSystem(actions, root, mountpoints, warnings);
  const all = await list(actions, root, warnings);
  await warnings.attempt({ field: 'applications', action: umountAll.action, ask: () => actions.call(umountAll, {}) });
  const sound = all.filter((one) => sizeOf(one) <= MAX_LIST);
  warnings.leftOut('applications', all.length - sound.length);
  let rest = sound;
  do {
    const next = batchOf(rest);
    yield { root, applications: [...next.batch] };
    rest = next.rest as Application2[];
  } while (rest.length > 0);
}

/** Logical volumes that are only activated on request, as thin snapshots are: activated, and attributed to their origin. */
import { debug } from '../../../gen/calls/debug.js';
import type { ActionCalls } from './actionCalls.js';
import type { Filesystems } from './filesystems.js';
import { lines } from './shell.js';
import type { Warnings } from './warnings.js';

/** A volume, and the one that it is a snapshot of, if any. */
export interface SkippedVolume {
  readonly device: string;
  readonly origin: string | undefined;
}

const ACTIVATE = `
lvm lvs --noheadings --separator : -o vg_name,lv_name,origin -S 'lv_skip_activation=yes && lv_role=public' 2>/dev/null | while IFS=': ' read -r group volume origin; do
  lvm lvchange -ay -K "$group/$volume" </dev/null >/dev/null 2>&1 && echo "/dev/$group/$volume \${origin:+/dev/$group/$origin}"
done
udevadm settle`;

/** Devices outside /dev itself and /dev/mapper are logical volumes. */
const LOGICAL_VOLUME = /^\/dev\/(?!mapper\/)[^/]+\/[^/]+$/;

/** Activates the volumes that are skipped; does nothing where there are no logical volumes. */
export async function activateSkipped(
  actions: ActionCalls,
  filesystems: Filesystems,
  warnings: Warnings,
): Promise<SkippedVolume[]> {
  if (![...filesystems.keys()].some((one) => LOGICAL_VOLUME.test(one))) return [];
  const output = await warnings.attempt({
    field: 'filesystems',
    action: debug.action,
    isCut: true,
    ask: () => actions.script(ACTIVATE),
  });
  return lines(output ?? '').map((line) => {
    const [device = '', origin = ''] = line.split(' ');
    return { device, origin: origin === '' ? undefined : origin };
  });
}

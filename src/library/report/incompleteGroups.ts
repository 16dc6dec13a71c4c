/**
 * Groups of devices that are not all there, or of which the appliance knows nothing: what is on them is not among the file
 * systems, and would be missing from a report in silence.
 */
import { debug } from '../../../gen/calls/debug.js';
import type { ActionCalls } from './actionCalls.js';
import { lines } from './shell.js';
import type { Warnings } from './warnings.js';

const FIELD = 'filesystems';
const RAID = 'linux_raid_member';
const LVM = 'LVM2_member';

/** Prints `array NAME MEMBER...` for each array that could not be started. */
const STOPPED_ARRAYS = `
while read -r name colon state members; do
  [ "$state" != inactive ] || echo "array $name $members"
done </proc/mdstat`;

/** Prints `group NAME MISSING` for each volume group. */
const VOLUME_GROUPS = `
lvm vgs --noheadings --separator ' ' -o vg_name,vg_missing_pv_count 2>/dev/null | while read -r name missing; do
  echo "group $name $missing"
done
:`;

/** The members of an array in /proc/mdstat, such as `sda1[0](S)`. */
function membersOf(words: readonly string[]): string {
  return words
    .flatMap((one) => /^([^[\]]+)\[\d+\]/.exec(one)?.[1] ?? [])
    .map((name) => `/dev/${name}`)
    .join(', ');
}

/** Warns of what the output of the scripts says. */
export function warnOfGroups(output: string, warnings: Warnings): void {
  const groups = new Map<string, number>();
  for (const line of lines(output)) {
    const [what, name = '', ...rest] = line.split(' ');
    if (what === 'array')
      warnings.add(
        FIELD,
        '',
        'INCOMPLETE',
        `the RAID array /dev/${name} cannot be started: only ${membersOf(rest)} is there of it, which is not enough; name the images of its other members as well`,
      );
    else if (what === 'group') {
      groups.set(name, (groups.get(name) ?? 0) + 1);
      if (rest[0] !== '0')
        warnings.add(
          FIELD,
          '',
          'INCOMPLETE',
          `the volume group ${name} lacks ${rest[0] ?? ''} of its physical volumes, so logical volumes that are on them are not reported; name the images with them as well`,
        );
    }
  }
  for (const [name, count] of groups)
    if (count > 1)
      warnings.add(
        FIELD,
        '',
        'INCOMPLETE',
        `${count} volume groups have the name ${name}, so not all of their logical volumes are reported; inspect their images one by one`,
      );
}

/**
 * Warns of groups of which something is missing.
 * @param members types of the devices that are part of something else
 */
export async function warnOfIncompleteGroups(
  actions: ActionCalls,
  members: ReadonlyMap<string, string>,
  warnings: Warnings,
): Promise<void> {
  const types = new Set(members.values());
  const scripts = [...(types.has(RAID) ? [STOPPED_ARRAYS] : []), ...(types.has(LVM) ? [VOLUME_GROUPS] : [])];
  if (scripts.length > 0) {
    const output = await warnings.attempt({
      field: FIELD,
      action: debug.action,
      isCut: true,
      ask: () => actions.script(scripts.join('\n')),
    });
    warnOfGroups(output ?? '', warnings);
  }
  for (const [device, type] of members)
    if (type !== RAID && type !== LVM)
      warnings.add(
        FIELD,
        '',
        'UNSUPPORTED',
        `${device} is a member of a group of the type ${type.replace(/_member$/, '')}, which the appliance cannot read: nothing on it is reported`,
      );
}

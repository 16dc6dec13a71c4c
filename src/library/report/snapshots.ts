/** Snapshots of a system, such as snapper's and Timeshift's: each is a file system with the same system, and belongs to it. */
import { debug } from '../../../gen/calls/debug.js';
import type { ActionCalls } from './actionCalls.js';
import type { FoundSystem } from './foundSystem.js';
import { deviceOf } from './mending/culprit.js';
import { lines, word } from './shell.js';
import type { Warnings } from './warnings.js';

/** A subvolume of a Btrfs. */
interface Subvolume {
  readonly uuid: string;
  /** UUID of the subvolume that it was a snapshot of; undefined: it was none. */
  readonly parent: string | undefined;
}

/** Prints the path of the default subvolume, then all subvolumes, with their UUIDs. */
const list = (device: string): string => `
held=/run/inspected-snapshots
mkdir -p $held
mount -o ro,subvolid=5 ${word(device)} $held || exit 0
btrfs subvolume get-default $held
btrfs subvolume list -u -q $held
umount $held`;

const DEFAULT = /^ID \d+ gen \d+ top level \d+ path (.*)$/;
/** Columns are padded. */
const ENTRY = / parent_uuid +(\S+) +uuid +(\S+) +path (.*)$/;

/** The subvolumes of a device by path; the path of the default one. */
export function parseSubvolumes(output: string): {
  readonly standard: string;
  readonly byPath: ReadonlyMap<string, Subvolume>;
} {
  const [first, ...rest] = lines(output);
  const byPath = new Map<string, Subvolume>();
  for (const line of rest) {
    const [, parent = '-', uuid, path] = ENTRY.exec(line) ?? [];
    if (uuid !== undefined && path !== undefined)
      byPath.set(path, { uuid, parent: parent === '-' ? undefined : parent });
  }
  return { standard: DEFAULT.exec(first ?? '')?.[1] ?? '', byPath };
}

/** The UUID of the subvolume from which a family of snapshots descends. */
function ancestor(subvolume: Subvolume, byUuid: ReadonlyMap<string, Subvolume>): string {
  let current = subvolume;
  for (let left = byUuid.size; left > 0 && current.parent !== undefined; left -= 1) {
    const next = byUuid.get(current.parent);
    if (next === undefined) return current.parent; // it was deleted
    current = next;
  }
  return current.uuid;
}

/** Folds the systems on one Btrfs: of each family, the one that is booted by default, or the original, or the first, stays. */
export function foldFamilies(systems: readonly FoundSystem[], output: string): FoundSystem[] {
  const { standard, byPath } = parseSubvolumes(output);
  const byUuid = new Map([...byPath.values()].map((one) => [one.uuid, one]));
  const families = new Map<string, FoundSystem[]>();
  const origins = new Map<FoundSystem, boolean>();
  for (const system of systems) {
    const device = deviceOf(system.root);
    const path = system.root === device ? standard : system.root.slice(`btrfsvol:${device}/`.length);
    const subvolume = byPath.get(path);
    const family = subvolume === undefined ? system.root : ancestor(subvolume, byUuid);
    families.set(family, [...(families.get(family) ?? []), system]);
    origins.set(system, subvolume?.parent === undefined);
  }
  return [...families.values()].map((family): FoundSystem => {
    const head =
      family.find(({ root }) => root === deviceOf(root)) ?? family.find((one) => origins.get(one)) ?? family[0];
    if (head === undefined) throw new Error('a family without members');
    return { ...head, snapshots: family.filter((one) => one !== head).map(({ root }) => root) };
  });
}

/** Replaces systems by those that they are snapshots of. */
export async function foldSnapshots(
  actions: ActionCalls,
  systems: readonly FoundSystem[],
  warnings: Warnings,
): Promise<FoundSystem[]> {
  const onVolumes = new Set(
    systems.filter(({ root }) => root.startsWith('btrfsvol:')).map(({ root }) => deviceOf(root)),
  );
  const folded: FoundSystem[] = systems.filter(({ root }) => !onVolumes.has(deviceOf(root)));
  for (const device of onVolumes) {
    const group = systems.filter(({ root }) => deviceOf(root) === device);
    const output =
      group.length === 1
        ? undefined
        : await warnings.attempt({
            field: 'roots',
            action: debug.action,
            isCut: true,
            ask: () => actions.script(list(device)),
          });
    folded.push(...(output === undefined || output === '' ? group : foldFamilies(group, output)));
  }
  return folded;
}

/** Finds the directories of this process's cgroups in the text of files in /proc. No I/O. */

/** The cgroup of this process for a controller. */
export interface CgroupPlace {
  readonly version: 1 | 2;
  /** Its directory. */
  readonly directory: string;
}

interface Mount {
  /** Which part of the hierarchy is mounted. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
  readonly options: readonly string[];
}

/**
 * Finds the cgroups.
 * @param membership content of `/proc/self/cgroup`
 * @param mountinfo content of `/proc/self/mountinfo`
 * @returns the cgroups of version 1 by controller, and that of version 2 as `unified`
 */
export function cgroupPlaces(membership: string, mountinfo: string): ReadonlyMap<string, CgroupPlace> {
  const mounts = mountinfo.split('\n').flatMap(mountOf);
  const places = new Map<string, CgroupPlace>();
  for (const line of membership.split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const [, controllers = '', path = '/'] = match;
    const unified = controllers === '';
    for (const name of unified ? ['unified'] : controllers.split(',')) {
      const mount = mounts.find(({ type, options }) =>
        unified ? type === 'cgroup2' : type === 'cgroup' && options.includes(name),
      );
      if (mount !== undefined) places.set(name, { version: unified ? 2 : 1, directory: directoryOf(path, mount) });
    }
  }
  return places;
}

function mountOf(line: string): Mount[] {
  const [before, after] = line.split(' - ');
  const [, , , root, point] = before?.split(' ') ?? [];
  const [type, , options] = after?.split(' ') ?? [];
  if (root === undefined || point === undefined || type === undefined || options === undefined) return [];
  return [{ root, point, type, options: options.split(',') }];
}

function directoryOf(path: string, { root, point }: Mount): string {
  const below = root !== '/' && (path === root || path.startsWith(`${root}/`)) ? path.slice(root.length) : path;
  return below === '/' || below === '' ? point : `${point}${below}`;
}

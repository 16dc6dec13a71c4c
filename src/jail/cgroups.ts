/**
 * A cgroup for each machine: it limits what all its processes may use together, including every kind of memory.
 *
 * Cgroups are made below the server's own, in version 2 or 1. In version 2 a cgroup that contains processes cannot have
 * children with limits; the server therefore moves into a child cgroup first, if it is alone in its own, as in a
 * systemd unit with `Delegate=yes` or in a container.
 *
 * The name of a cgroup shows which server made it, as with run directories: the next server removes those of a server
 * that was killed.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../common/errors.js';
import { formatIdentity, identityOf, isRunning, parseIdentity } from '../common/processIdentity.js';
import { sleep } from '../common/waiting.js';
import { cgroupPlaces } from './cgroupPlaces.js';

const PREFIX = 'guestfs-grpc-';
/** The cgroup of the server itself, in version 2. */
const SERVER = `${PREFIX}server`;
const WANTED = ['memory', 'pids'] as const;
/** How long the kernel may take to notice that the last process has exited. */
const REMOVAL_MS = 5000;
const POLL_MS = 5;

export interface CgroupLimits {
  /** Bytes. */
  readonly memory: number;
  /** Processes and threads. */
  readonly processes: number;
}

/** The cgroup of one machine. */
export interface Cgroup {
  /** A process enters by writing its number to these files. */
  readonly entries: readonly string[];
  /** Kills the processes in it, and removes it. */
  remove(): Promise<void>;
}

/** How cgroups can be made on this host. */
export type Cgroups =
  | { readonly version: 1 | 2; readonly parents: ReadonlyMap<(typeof WANTED)[number], string> }
  | { readonly version: undefined; readonly reason: string };

let found: Promise<Cgroups> | undefined;
let count = 0;

/** What this host allows; finding out may move the server into a child cgroup. */
export function findCgroups(): Promise<Cgroups> {
  return (found ??= probe());
}

/**
 * Makes a cgroup; undefined where that is not possible.
 * @throws Error if it fails although it was possible before
 */
export async function createCgroup(limits: CgroupLimits): Promise<Cgroup | undefined> {
  const cgroups = await findCgroups();
  return cgroups.version === undefined ? undefined : make(cgroups, limits);
}

/**
 * Removes the cgroups of servers that are no longer running, and kills the processes in them.
 * @returns how many were removed
 */
export async function sweepCgroups(): Promise<number> {
  const cgroups = await findCgroups();
  if (cgroups.version === undefined) return 0;
  let removed = 0;
  for (const parent of new Set(cgroups.parents.values())) {
    for (const name of await readdir(parent)) {
      const maker = /^guestfs-grpc-(.*)-\d+$/.exec(name)?.[1];
      const identity = maker === undefined ? undefined : parseIdentity(maker);
      if (identity === undefined || (await isRunning(identity)) !== false) continue;
      await remove(join(parent, name));
      removed += 1;
    }
  }
  return removed;
}

async function probe(): Promise<Cgroups> {
  try {
    const [membership, mounts] = await Promise.all([
      readFile('/proc/self/cgroup', 'utf8'),
      readFile('/proc/self/mountinfo', 'utf8'),
    ]);
    const places = cgroupPlaces(membership, mounts);
    const unified = places.get('unified')?.directory;
    const second = unified === undefined ? [] : await controllersIn(unified);
    const cgroups: Cgroups =
      unified !== undefined && second.length > 0
        ? { version: 2, parents: await delegated(unified, second) }
        : { version: 1, parents: new Map(WANTED.flatMap((name) => entryOf(name, places.get(name)?.directory))) };
    if (cgroups.parents.size === 0) return { version: undefined, reason: 'there is no memory or process controller' };
    await (await make(cgroups, { memory: 1 << 30, processes: 64 })).remove();
    return cgroups;
  } catch (error) {
    return { version: undefined, reason: messageOf(error) };
  }
}

function entryOf<Key>(key: Key, directory: string | undefined): [Key, string][] {
  return directory === undefined ? [] : [[key, directory]];
}

async function controllersIn(directory: string): Promise<(typeof WANTED)[number][]> {
  const names = await readFile(join(directory, 'cgroup.controllers'), 'latin1').catch(() => '');
  return WANTED.filter((name) => names.trim().split(' ').includes(name));
}

/** Enables the controllers for the children of the server's cgroup. */
async function delegated(
  directory: string,
  controllers: readonly (typeof WANTED)[number][],
): Promise<Map<(typeof WANTED)[number], string>> {
  const enable = (): Promise<void> =>
    writeFile(join(directory, 'cgroup.subtree_control'), controllers.map((name) => `+${name}`).join(' '));
  try {
    await enable();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    await moveServer(directory);
    await enable().catch(async (refused: unknown) => {
      await writeFile(join(directory, 'cgroup.procs'), String(process.pid));
      throw refused;
    });
  }
  return new Map(controllers.map((name) => [name, directory]));
}

async function moveServer(directory: string): Promise<void> {
  const others = (await processesIn(directory)).filter((pid) => pid !== process.pid);
  if (others.length > 0) throw new Error(`other processes are in the server's cgroup ${directory}`);
  const own = join(directory, SERVER);
  await mkdir(own, { recursive: true });
  await writeFile(join(own, 'cgroup.procs'), String(process.pid));
}

async function make(
  { version, parents }: Cgroups & { version: 1 | 2 },
  { memory, processes }: CgroupLimits,
): Promise<Cgroup> {
  const self = await identityOf(process.pid);
  if (self === undefined) throw new Error('/proc does not show this process');
  count += 1;
  const name = `${PREFIX}${formatIdentity(self)}-${count}`;
  const directories = [...new Set(parents.values())].map((parent) => join(parent, name));
  const removeAll = async (): Promise<void> => {
    for (const directory of directories) await remove(directory);
  };
  const limit = async (controller: (typeof WANTED)[number], file: string, value: number): Promise<void> => {
    const parent = parents.get(controller);
    if (parent !== undefined) await writeFile(join(parent, name, file), String(value));
  };
  try {
    for (const directory of directories) await mkdir(directory);
    await limit('memory', version === 2 ? 'memory.max' : 'memory.limit_in_bytes', memory);
    await limit('pids', 'pids.max', processes);
    // Only where the kernel accounts for swap; elsewhere swap is not limited.
    if (version === 2) await limit('memory', 'memory.swap.max', memory).catch(ignoreMissing);
  } catch (error) {
    await removeAll();
    throw error;
  }
  return { entries: directories.map((directory) => join(directory, 'cgroup.procs')), remove: removeAll };
}

function ignoreMissing(error: unknown): void {
  if (!['ENOENT', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
}

async function processesIn(directory: string): Promise<number[]> {
  const text = await readFile(join(directory, 'cgroup.procs'), 'latin1').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  return text.split('\n').filter(Boolean).map(Number);
}

/** Kills the processes in a cgroup, and removes it once they have exited. */
async function remove(directory: string): Promise<void> {
  const limit = performance.now() + REMOVAL_MS;
  for (;;) {
    for (const pid of await processesIn(directory)) kill(pid);
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || performance.now() > limit) throw error;
    }
    await sleep(POLL_MS);
  }
}

function kill(pid: number): void {
  // 0: a process of another PID namespace.
  if (pid <= 0) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

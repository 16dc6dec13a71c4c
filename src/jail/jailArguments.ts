/**
 * The command that starts a program in a jail, or as close to one as this machine allows. No I/O.
 *
 * In a jail the program has an empty root with its own files, read-only; namespaces of its own for mounts, processes,
 * IPC, the host's name and, unless it needs one, the network; for a server that is not root a user namespace as well.
 *
 * Process 1 there is bubblewrap's, not the program: it has the user of the process that waits outside, by whose end the
 * kernel may therefore end it, and with it the program and everything that that started.
 */
import { descriptors } from '../common/descriptors.js';
import type { Place, Program } from './programFiles.js';

/** Whom a program runs as. */
export interface JailUser {
  readonly uid: number;
  readonly gid: number;
  /** More groups. */
  readonly groups?: readonly number[];
}

/** Resource limits (setrlimit(2)); those that are left out are the server's. */
export interface JailLimits {
  /** Bytes of address space. */
  readonly addressSpace?: number;
  /** Bytes of memory of its own. */
  readonly data?: number;
  /** Seconds of processor time. */
  readonly cpuSeconds?: number;
  /** Bytes of a file that it writes. */
  readonly fileSize?: number;
  readonly openFiles?: number;
  /** Processes and threads of its user; for a user that nobody else has. */
  readonly processes?: number;
}

/** What is to be started. */
export interface JailPlan {
  readonly program: Program;
  readonly args: readonly string[];
  /** undefined: the server's user. */
  readonly user: JailUser | undefined;
  /** Of root's powers, those that a program which stays root keeps. */
  readonly capabilities?: readonly string[];
  /** Uses the host's network. */
  readonly network?: boolean;
  /** Its directory, where it runs and may write, at its own path; none when left out. */
  readonly directory?: string;
  /** Devices that it may open, if their mode lets it. */
  readonly devices?: readonly string[];
  /** More files, read-only. */
  readonly places?: readonly Place[];
  readonly limits?: JailLimits;
}

/** How programs are kept apart on this machine. */
export type Isolation =
  /** In jails, made by bubblewrap with root's rights or, with user namespaces, without. */
  | { readonly kind: 'namespaces'; readonly as: 'root' | 'user'; readonly bwrap: string; readonly setpriv: Program }
  /** By user and rights alone; not at all, for a server that is not root. */
  | { readonly kind: 'none'; readonly as: 'root' | 'user'; readonly reason: string };

/** A command ready to be started. */
export interface JailedCommand {
  readonly executable: string;
  readonly args: readonly string[];
  /** Where it is to be started. */
  readonly cwd: string;
}

/** The server's own may tell of its user. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEVICES = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'];
const DEVICE_LINKS = { '/dev/fd': 'fd', '/dev/stdin': 'fd/0', '/dev/stdout': 'fd/1', '/dev/stderr': 'fd/2' };

/** Capabilities to become that user, which takes them away, and to enter its directory. */
const CHANGE_USER = ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_DAC_READ_SEARCH'];

/**
 * Writes the command.
 * @param statusFd descriptor on which the jail tells the number of the process
 */
export function jailCommand(isolation: Isolation, plan: JailPlan, statusFd: number | undefined): JailedCommand {
  const { program, args, user, directory = '/' } = plan;
  const limits = limitArguments(plan.limits ?? {});
  if (isolation.kind === 'none') {
    return {
      executable: 'prlimit',
      args: [...limits, '--', 'setpriv', ...privileges(plan, isolation), '--', program.path, ...args],
      cwd: directory,
    };
  }
  const change = user !== undefined && isolation.as === 'root';
  const inside = change ? [isolation.setpriv.path, ...privileges(plan, isolation), '--'] : [];
  return {
    executable: 'prlimit',
    args: [
      ...[...limits, '--', isolation.bwrap],
      ...namespaces(isolation, plan),
      ...(statusFd === undefined ? [] : ['--info-fd', String(statusFd)]),
      ...root(
        [...program.places, ...(change ? isolation.setpriv.places : []), ...(plan.places ?? [])],
        plan,
        isolation.as === 'root' && !change,
      ),
      ...['--chdir', directory],
      ...['--', ...inside, program.path, ...args],
    ],
    cwd: '/',
  };
}

function namespaces(isolation: Isolation & { kind: 'namespaces' }, plan: JailPlan): string[] {
  const kept = plan.user === undefined ? (plan.capabilities ?? []) : CHANGE_USER;
  return [
    '--die-with-parent',
    ...['--unshare-pid', '--unshare-ipc', '--unshare-uts'],
    ...['--setenv', 'PATH', PATH],
    ...(plan.network === true ? [] : ['--unshare-net']),
    // Its capabilities there are gone when the program starts.
    ...(isolation.as === 'user'
      ? ['--unshare-user']
      : ['--cap-drop', 'ALL', ...kept.flatMap((capability) => ['--cap-add', capability])]),
  ];
}

/** The empty root, and what is put into it. */
function root(places: readonly Place[], plan: JailPlan, staysRoot: boolean): string[] {
  const { devices = [], directory } = plan;
  const unique = new Map(places.map((place) => [place.path, place]));
  const inside = (path: string): boolean =>
    [...unique.values()].some((other) => other.kind === 'read-only' && path.startsWith(`${other.path}/`));
  const wanted = [...unique.values()].filter(({ path }) => !inside(path));
  const nodes = [...DEVICES, ...devices];
  const own = directory === undefined ? [] : [directory];
  return [
    // bubblewrap would make them for its own user alone.
    ...parentsOf([...wanted.map(({ path }) => path), ...nodes, ...own]).flatMap((path) => [
      '--perms',
      '0755',
      '--dir',
      path,
    ]),
    ...wanted.flatMap((place) =>
      place.kind === 'link' ? ['--symlink', place.target, place.path] : ['--ro-bind', place.path, place.path],
    ),
    ...nodes.flatMap((path) => ['--dev-bind', path, path]),
    ...Object.entries(DEVICE_LINKS).flatMap(([path, target]) => ['--symlink', `/proc/self/${target}`, path]),
    // Shows the jail's processes only. Read-only: not even root in a jail changes a setting of the kernel. Others cannot
    // in any case, and the library for GlusterFS crashes where it may not open a file there for writing.
    ...['--proc', '/proc'],
    ...(staysRoot || plan.network !== true ? ['--remount-ro', '/proc'] : []),
    ...own.flatMap((path) => ['--bind', path, path]),
    ...['--remount-ro', '/'],
  ];
}

/** The directories above some paths, from the top down. */
function parentsOf(paths: readonly string[]): string[] {
  const parents = new Set<string>();
  for (const path of paths) {
    const names = path.split('/').slice(1, -1);
    names.forEach((_name, index) => parents.add(`/${names.slice(0, index + 1).join('/')}`));
  }
  return [...parents].sort();
}

/** Arguments of setpriv(1): dies with its parent, cannot get more rights, is another user. */
function privileges({ user, capabilities = [] }: JailPlan, { as }: Isolation): string[] {
  const kept = user === undefined ? capabilities.map((name) => `,+${name.replace('CAP_', '').toLowerCase()}`) : [];
  return [
    ...['--pdeathsig', 'KILL', '--no-new-privs'],
    ...(user === undefined ? [] : ['--reuid', String(user.uid), '--regid', String(user.gid)]),
    ...(user === undefined
      ? []
      : (user.groups ?? []).length === 0
        ? ['--clear-groups']
        : ['--groups', (user.groups ?? []).join(',')]),
    ...(as === 'root' ? ['--inh-caps=-all', `--bounding-set=-all${kept.join('')}`] : []),
  ];
}

function limitArguments(limits: JailLimits): string[] {
  const given: [string, number | undefined][] = [
    ['as', limits.addressSpace],
    ['data', limits.data],
    ['cpu', limits.cpuSeconds],
    ['fsize', limits.fileSize],
    // Nobody can be given more than this process has.
    ['nofile', limits.openFiles && Math.min(limits.openFiles, descriptors.limit)],
    ['nproc', limits.processes],
  ];
  return ['--core=0', ...given.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]))];
}

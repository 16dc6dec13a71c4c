/**
 * The command that starts a program in a jail, or as close to one as this machine allows.
 *
 * In a jail the program has a root file system with nothing but its own files, read-only; separate namespaces for
 * mounts, processes, IPC, the host name and, unless it needs the network, the network; and for a server that is not
 * root also a user namespace.
 *
 * Process 1 there is bubblewrap's, not the program. It has the same user as the process that waits outside, so the
 * kernel may kill it when that process ends, and with it the program and everything the program has started.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ISOLATED_PYTHON } from '../common/python.js';
import { descriptors } from '../common/descriptors.js';
import type { Place, Program } from './programFiles.js';

/** Read where it is: the compiler copies no other languages. Its user may not read it there. */
const CONFINE = readFileSync(fileURLToPath(new URL('../../../src/jail/confine.py', import.meta.url)), 'utf8');

/** The user that a program runs as. */
export interface JailUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups?: readonly number[];
}

/** Resource limits (setrlimit(2)); those left out are inherited from the server. */
export interface JailLimits {
  /** Bytes of address space. */
  readonly addressSpace?: number;
  /** Bytes of private memory. */
  readonly data?: number;
  /** Seconds of processor time. */
  readonly cpuSeconds?: number;
  /** Size of a file that it writes, in bytes. */
  readonly fileSize?: number;
  readonly openFiles?: number;
  /** Processes and threads of its user; only for a user that no other program has. */
  readonly processes?: number;
}

/** What to start. */
export interface JailPlan {
  readonly program: Program;
  readonly args: readonly string[];
  /** undefined: the server's user. */
  readonly user: JailUser | undefined;
  /** Capabilities that a program keeps if it runs as root. */
  readonly capabilities?: readonly string[];
  /** Whether it uses the host's network. */
  readonly network?: boolean;
  /**
   * May make Unix sockets where Landlock and seccomp confine it: only for programs that no client's data reaches, since
   * it could connect to those of the host. A jail without the host's network has none but those in its directory.
   */
  readonly unixSockets?: boolean;
  /** Changes modes, owners and times of files that it is given, and the content of directories. */
  readonly attributes?: boolean;
  /**
   * What it does with `/proc`: nothing, so that a jail without further confinement has none; or open files there that it
   * is given once more, by the numbers of their descriptors, for which it is confined in a jail as well. Without that it
   * could open any, and with other rights: write to an image that it was given for reading, if the image's mode allows
   * that to all. By default it is given no images.
   */
  readonly proc?: 'unused' | { readonly reopens: readonly number[] };
  /** Makes namespaces and filters of its own, which the ones here would prevent. */
  readonly confinesItself?: boolean;
  /** Its working directory, at the same path as on the host, which it may write to; none by default. */
  readonly directory?: string;
  /** Devices that it may open, if their mode permits. */
  readonly devices?: readonly string[];
  /** More files, read-only. */
  readonly places?: readonly Place[];
  readonly limits?: JailLimits;
  /** Files by which it enters its cgroups; none when left out. */
  readonly cgroup?: readonly string[];
}

/** How programs are isolated on this machine. */
export type Isolation =
  /** In jails, which bubblewrap creates as root or, by means of user namespaces, as another user. */
  | {
      readonly kind: 'namespaces';
      readonly as: 'root' | 'user';
      readonly bwrap: string;
      readonly setpriv: Program;
      /** Runs `confine.py` in a jail; undefined where there is no Landlock. */
      readonly python?: Program | undefined;
    }
  /** By rights that each program gives up before it starts: `confine.py`. */
  | { readonly kind: 'landlock'; readonly as: 'root' | 'user'; readonly reason: string }
  /** Only by user and file permissions; for a server that is not root, not at all. */
  | { readonly kind: 'none'; readonly as: 'root' | 'user'; readonly reason: string };

/** A command ready to be started. */
export interface JailedCommand {
  readonly executable: string;
  readonly args: readonly string[];
  /** The directory in which to start it. */
  readonly cwd: string;
}

/** Before anything else, so that all that the program uses counts. 0 is the process that writes it. */
const ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"';
/**
 * Ends the start of a jail if the server ends meanwhile. bubblewrap asks the kernel for that only when the jail is
 * complete, and the kernel does not look back. The server's end of the descriptor closes with the server; a line on it
 * means that the jail is complete. Kills more than once, since the jail is being made at the time, and from a process
 * group of its own, which is what `set -m` is for. bash, because other shells take only descriptors of one digit.
 */
const GUARD = [
  'fd=$1; shift; set -m',
  '{ read -r -u "$fd" _ || for _ in 1 2 3 4 5; do kill -KILL -- "-$$" || break; sleep 0.1; done; } 2>/dev/null &',
  `set +m; ${ENTER_CGROUPS}`,
].join('\n');
/** Likewise where there is no jail: its parent is another process if the server ended before setpriv asked. */
const HAS_PARENT = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"';
/** Not the server's own PATH, which may reveal its user. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const [, ...PYTHON_OPTIONS] = ISOLATED_PYTHON;
const DEVICES = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'];
const DEVICE_LINKS = { '/dev/fd': 'fd', '/dev/stdin': 'fd/0', '/dev/stdout': 'fd/1', '/dev/stderr': 'fd/2' };

/** Capabilities to become that user, which takes them away, and to enter its directory. */
const CHANGE_USER = ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_DAC_READ_SEARCH'];

/**
 * Builds the command.
 * @param statusFd descriptor of a channel on which the jail reports the number of its first process, and is told with a
 * line that it is complete; if the server's end closes before that, the jail ends
 */
export function jailCommand(isolation: Isolation, plan: JailPlan, statusFd: number | undefined): JailedCommand {
  const command = jailedCommand(isolation, plan, statusFd);
  const { cgroup = [] } = plan;
  const rest = [...cgroup, '--', command.executable, ...command.args];
  if (isolation.kind === 'namespaces' && statusFd !== undefined)
    return { executable: 'bash', args: ['-c', GUARD, 'bash', String(statusFd), ...rest], cwd: command.cwd };
  if (cgroup.length === 0) return command;
  return { executable: 'sh', args: ['-c', ENTER_CGROUPS, 'sh', ...rest], cwd: command.cwd };
}

function jailedCommand(isolation: Isolation, plan: JailPlan, statusFd: number | undefined): JailedCommand {
  const { program, args, user, directory = '/' } = plan;
  const limits = limitArguments(plan.limits ?? {});
  if (isolation.kind !== 'namespaces') {
    const confined = isolation.kind === 'landlock' ? [...ISOLATED_PYTHON, ...confinement(plan, ownFiles(plan))] : [];
    return {
      executable: 'prlimit',
      args: [
        ...[...limits, '--', 'setpriv', ...privileges(plan, isolation), '--'],
        ...['sh', '-c', HAS_PARENT, 'sh', String(process.pid)],
        ...[...confined, program.path, ...args],
      ],
      cwd: directory,
    };
  }
  const change = user !== undefined && isolation.as === 'root';
  const python = needsConfinement(isolation, plan) ? isolation.python : undefined;
  const inside = [
    ...(change ? [isolation.setpriv.path, ...privileges(plan, isolation), '--'] : []),
    ...(python === undefined ? [] : [python.path, ...PYTHON_OPTIONS, ...confinement(inJail(plan), ['/'])]),
  ];
  return {
    executable: 'prlimit',
    args: [
      ...[...limits, '--', isolation.bwrap],
      ...namespaces(isolation, plan),
      ...(statusFd === undefined ? [] : ['--info-fd', String(statusFd)]),
      ...root(
        [
          ...[...program.places, ...(change ? isolation.setpriv.places : []), ...(python?.places ?? [])],
          ...(plan.places ?? []),
        ],
        // What confines it needs it, and refuses what it could do with it.
        { ...plan, withProc: plan.proc !== 'unused' || python !== undefined },
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
    // bash sets the other one.
    ...['--setenv', 'PATH', PATH, '--unsetenv', 'SHLVL'],
    ...(plan.network === true ? [] : ['--unshare-net']),
    // It has lost its capabilities there by the time the program starts.
    ...(isolation.as === 'user'
      ? ['--unshare-user']
      : ['--cap-drop', 'ALL', ...kept.flatMap((capability) => ['--cap-add', capability])]),
  ];
}

/**
 * Whether a program in a jail has descriptors that lead out of it. They are those of the host's files. If these belong
 * to the program's user, or everybody may write to them, it can open them again for writing, although it was given them
 * for reading; and from a directory it can go to the one above. Images belong to a server that is not root, and so do
 * its programs.
 */
function needsConfinement({ as }: Isolation, { attributes, confinesItself, proc }: JailPlan): boolean {
  return confinesItself !== true && (as === 'user' || attributes === true || reopenedOf(proc) !== undefined);
}

function reopenedOf(proc: JailPlan['proc']): readonly number[] | undefined {
  return typeof proc === 'object' ? proc.reopens : undefined;
}

/** In a jail, Unix sockets are harmless if its network is its own. */
function inJail(plan: JailPlan): JailPlan {
  return { ...plan, unixSockets: plan.unixSockets === true || plan.network !== true };
}

/** All that the program would have in a jail. A link is followed to where it leads, which is what counts. */
function ownFiles({ program, places = [] }: JailPlan): string[] {
  const read = [...program.places, ...places].flatMap((place) =>
    place.kind === 'read-only' ? [place.source ?? place.path] : [],
  );
  return [...new Set(read)];
}

/** Arguments of Python with which it takes the program all but some files. */
function confinement(
  { devices = [], directory, network, unixSockets, attributes, proc }: JailPlan,
  read: readonly string[],
): string[] {
  return [
    ...['-c', CONFINE],
    ...read.map((path) => `read=${path}`),
    ...[...DEVICES, ...devices].map((path) => `device=${path}`),
    ...(reopenedOf(proc) ?? []).map((fd) => `reopened=${fd}`),
    // Where it is already: its user may not enter the directories above.
    ...(directory === undefined ? [] : ['write=.']),
    ...(network === true ? ['network='] : []),
    ...(unixSockets === true ? ['unix='] : []),
    ...(attributes === true ? ['attributes='] : []),
    '--',
  ];
}

/** The empty root and its content. */
function root(places: readonly Place[], plan: JailPlan & { readonly withProc: boolean }, staysRoot: boolean): string[] {
  const { devices = [], directory } = plan;
  const unique = new Map(places.map((place) => [place.path, place]));
  const inside = (path: string): boolean =>
    [...unique.values()].some((other) => other.kind === 'read-only' && path.startsWith(`${other.path}/`));
  const wanted = [...unique.values()].filter(({ path }) => !inside(path));
  const nodes = [...DEVICES, ...devices];
  const own = directory === undefined ? [] : [directory];
  return [
    // bubblewrap would make them for its own user alone.
    ...parentsOf([...wanted.map(placeOrInside), ...nodes, ...own]).flatMap((path) => [
      '--perms',
      '0755',
      '--dir',
      path,
    ]),
    ...wanted.flatMap((place) => {
      if (place.kind === 'empty') return [];
      return place.kind === 'link'
        ? ['--symlink', place.target, place.path]
        : ['--ro-bind', place.source ?? place.path, place.path];
    }),
    ...nodes.flatMap((path) => ['--dev-bind', path, path]),
    ...(plan.withProc ? processes(staysRoot || plan.network !== true) : []),
    ...own.flatMap((path) => ['--bind', path, path]),
    ...['--remount-ro', '/'],
  ];
}

/**
 * The jail's own processes. Read-only, not even root in a jail can change kernel settings. Other users cannot in any case,
 * and the GlusterFS library crashes if it cannot open a file there for writing.
 */
function processes(readOnly: boolean): string[] {
  return [
    ...Object.entries(DEVICE_LINKS).flatMap(([path, target]) => ['--symlink', `/proc/self/${target}`, path]),
    ...['--proc', '/proc'],
    ...(readOnly ? ['--remount-ro', '/proc'] : []),
  ];
}

/** A path whose directory is to be made. */
function placeOrInside({ kind, path }: Place): string {
  return kind === 'empty' ? `${path}/.` : path;
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

/** Arguments of setpriv(1): die with the parent, gain no privileges, change the user. */
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

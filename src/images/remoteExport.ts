/**
 * Connects to the server of a remote drive, for qemus that have no network.
 *
 * The connection, its protocol, its secret and the host's network belong to a qemu-storage-daemon that serves this drive
 * only, in a jail of its own. It provides the bytes of the drive, unparsed, as an NBD server on a socket that it
 * inherits, and qemus get connections to that socket: these lead nowhere else, whereas a qemu with a TCP connection
 * could connect it to another server.
 */
import { chmod, chown, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { endProcess, lastWordsOf } from '../common/endedProcess.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { FairSemaphore } from '../common/fairSemaphore.js';
import type { StartedProcess } from '../common/subprocess.js';
import { inTime, withTimeLimit } from '../common/waiting.js';
import { createCgroup } from '../jail/cgroups.js';
import { startJailed } from '../jail/jail.js';
import type { JailLimits, JailUser } from '../jail/jailArguments.js';
import { findProgram, type Place, type Program } from '../jail/programFiles.js';
import { networkPlaces } from '../qemu/qemuJail.js';
import { QmpClient, QmpError } from '../qemu/qmpClient.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import { listenIn, type ExportSocket, type ListeningSocket } from './exportSocket.js';
import { remoteNode } from './remoteNodes.js';
import { createRemoteResources } from './remoteResources.js';
import { remoteSubject, usesNetwork, type RemoteProtocol, type RemoteSource } from './remoteSource.js';

const PROGRAM = 'qemu-storage-daemon';
const PACKAGE = 'qemu-system-common';
const MONITOR_FD = 3;
const LISTENING_FD = 4;
/** Its node, and the name under which it is exported. */
const NODE = 'bytes';

/** Any reachable server answers sooner. */
const WALL_CLOCK_MS = 20_000;
/** How long it may take to write what its libraries keep, and to take its leave of the server. */
const GRACE_MS = 5000;
/** Libraries of storage clusters reserve memory for dozens of threads. */
const MEMORY_BYTES = 4 * 2 ** 30;
const THREADS = 512;
const LIMITS: JailLimits = { data: MEMORY_BYTES, openFiles: 1024, fileSize: 1 << 20 };

/** Most of them just wait for the network, and those of a client whose servers do not answer must keep no others waiting. */
const turns = new FairSemaphore({
  parallel: 16,
  perClient: 8,
  waiting: 1024,
  limit: 'network-drives-waiting',
  tasks: 'network drives to be opened',
});

/** Protocols whose drivers Debian packages separately from qemu. */
const EXTRA_PROTOCOLS: ReadonlySet<RemoteProtocol> = new Set([
  'http',
  'https',
  'ftp',
  'ftps',
  'ssh',
  'iscsi',
  'rbd',
  'gluster',
]);
const EXTRA_PACKAGE = 'qemu-block-extra';

/** How a drive is to be provided. */
export interface ExportOptions {
  /** Prefix of the name of its directory. */
  readonly name: string;
  readonly writable: boolean;
  /** Private directory of the machine; the process runs as its owner, and has its own directory beside it. */
  readonly runDirectory: string;
  readonly roots: ImageRoots;
  readonly signal: AbortSignal;
}

/** The bytes of one remote drive. */
export interface RemoteExport {
  /** Size in bytes, in whole sectors. */
  readonly size: bigint;
  /** A connection for a qemu, which refers to it in an {@link exportNode}. */
  connect(): Promise<ExportSocket>;
  /** Closes the server's copies of all connections that were made. */
  disconnect(): void;
  /** Ends the process, once no qemu uses it any more. Can be called twice. */
  stop(): Promise<void>;
}

/**
 * Opens a remote drive; waits while many others are being opened.
 * @throws GuestfsError `IMAGE_UNUSABLE` naming the drive, those of {@link createRemoteResources}, `ENOTSUP` without the
 *   program; or the reason of the signal
 */
export function openRemoteExport(source: RemoteSource, options: ExportOptions): Promise<RemoteExport> {
  return turns.run(() => open(source, options), options.signal);
}

/** The node with which a qemu reads an export, by what its qemu calls the connection. */
export function exportNode(
  socket: string,
  name: string,
  options: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> & { readonly driver: 'nbd'; readonly 'node-name': string } {
  return { driver: 'nbd', 'node-name': name, server: { type: 'fd', str: socket }, export: NODE, ...options };
}

/** What has been made so far, to be undone in reverse order. */
type Undo = (() => Promise<void>)[];

/** @throws AggregateError of what could not be undone, after everything else has been */
async function undoAll(undo: Undo): Promise<void> {
  const failures: unknown[] = [];
  for (let step = undo.pop(); step !== undefined; step = undo.pop())
    await step().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, messageOf(failures[0]));
}

async function open(source: RemoteSource, options: ExportOptions): Promise<RemoteExport> {
  const undo: Undo = [];
  try {
    const { process, listening, size } = await start(source, options, undo);
    const sockets: ExportSocket[] = [];
    const disconnect = (): void => {
      for (const socket of sockets.splice(0)) socket.close();
    };
    let stopping: Promise<void> | undefined;
    return {
      size,
      connect: async () => {
        const socket = await listening.connect();
        sockets.push(socket);
        return socket;
      },
      disconnect,
      stop: () =>
        (stopping ??= (async () => {
          disconnect();
          process.kill('SIGTERM');
          await inTime(GRACE_MS, undefined, process.exited);
          await undoAll(undo);
        })()),
    };
  } catch (error) {
    await undoAll(undo);
    options.signal.throwIfAborted();
    throw error;
  }
}

interface Started {
  readonly process: StartedProcess;
  readonly listening: ListeningSocket;
  readonly size: bigint;
}

async function start(source: RemoteSource, options: ExportOptions, undo: Undo): Promise<Started> {
  const { runDirectory, name, roots, signal } = options;
  const program = await daemonProgram();
  const { uid, gid } = await stat(runDirectory);
  // The socket is where the process cannot replace it.
  const outer = await mkdtemp(join(dirname(runDirectory), `${name}-`));
  undo.push(() => rm(outer, { recursive: true, force: true }));
  const listening = await listenIn(outer);
  undo.push(() => listening.close());
  const directory = join(outer, 'private');
  await mkdir(directory, { mode: 0o700 });
  await chown(directory, uid, gid);
  const resources = await createRemoteResources(source, directory, { uid, gid }, roots);
  undo.push(() => resources.close());
  // Not before: a qemu of the same user could put links in the way of what is created there and changes its owner.
  await chmod(outer, 0o711);
  const user = uid === globalThis.process.geteuid?.() ? undefined : { uid, gid };
  const process = await startDaemon(program, user, directory, listening.fd, placesFor(source, user), undo);
  const said = lastWordsOf(process);
  await listening.handOver();

  const subject = remoteSubject(source);
  const refuse = (why: string): GuestfsError =>
    new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be opened: ${why}`);
  const late = (): Error => refuse(`the server did not answer within ${WALL_CLOCK_MS / 1000} s`);
  return withTimeLimit(WALL_CLOCK_MS, late, [signal], async (limit) => {
    try {
      const monitor = await QmpClient.connect(process.channels[0] as Duplex, limit);
      for (const object of resources.objects) await monitor.execute('object-add', object, limit);
      const access = { 'read-only': !options.writable, ...(options.writable ? { discard: 'unmap' } : {}) };
      await monitor.execute('blockdev-add', remoteNode(source, NODE, resources, access), limit);
      const size = sizeOf(await monitor.execute('query-named-block-nodes', { flat: true }, limit));
      const exported = { type: 'nbd', id: NODE, 'node-name': NODE, name: NODE, writable: options.writable };
      await monitor.execute('block-export-add', exported, limit);
      // Nothing is read from it any more, whatever takes it over.
      monitor.close();
      await resources.close();
      if (size === undefined) throw refuse('its size is unknown');
      return { process, listening, size };
    } catch (error) {
      limit.throwIfAborted();
      if (error instanceof GuestfsError) throw error;
      throw refuse(
        explain(error instanceof QmpError ? error.description : said() || messageOf(error), source.protocol),
      );
    }
  });
}

async function daemonProgram(): Promise<Program> {
  try {
    return await findProgram(PROGRAM, 'tool');
  } catch (error) {
    throw new GuestfsError(
      'ENOTSUP',
      `network drives need ${PROGRAM}, which is not installed; on Debian and Ubuntu, the package ${PACKAGE} has it`,
      { cause: error },
    );
  }
}

/** The files of the host that it needs to connect; undefined if it needs no network. */
function placesFor(source: RemoteSource, user: JailUser | undefined): readonly Place[] | undefined {
  return usesNetwork(source) ? networkPlaces(user, source.protocol) : undefined;
}

async function startDaemon(
  program: Program,
  user: JailUser | undefined,
  directory: string,
  listeningFd: number,
  places: readonly Place[] | undefined,
  undo: Undo,
): Promise<StartedProcess> {
  const cgroup = await createCgroup({ memory: MEMORY_BYTES, processes: THREADS });
  if (cgroup !== undefined) undo.push(() => cgroup.remove());
  const process = await startJailed(
    {
      program,
      args: [
        ...['--chardev', `socket,id=monitor,fd=${MONITOR_FD}`, '--monitor', 'chardev=monitor'],
        ...['--nbd-server', `addr.type=fd,addr.str=${LISTENING_FD}`],
      ],
      ...{ user, directory, network: places !== undefined, limits: LIMITS, cgroup: cgroup?.entries ?? [] },
      places: places ?? [],
    },
    // Libraries that look for a user's files, such as keys, find the drive's own.
    { channels: 1, fds: [listeningFd], env: { LC_ALL: 'C', HOME: '.', TMPDIR: directory } },
  );
  undo.push(() => endProcess(process));
  return process;
}

/** The size in the answer to `query-named-block-nodes` (qemu's qapi/block-core.json). */
function sizeOf(nodes: unknown): bigint | undefined {
  const known = nodes as readonly { readonly 'node-name'?: string; readonly image?: { 'virtual-size'?: unknown } }[];
  const size = known.find((node) => node['node-name'] === NODE)?.image?.['virtual-size'];
  return typeof size === 'number' && size >= 0 && Number.isSafeInteger(size) ? BigInt(size) : undefined;
}

/** qemu's error, with a hint where it lacks one. */
function explain(failure: string, protocol: RemoteProtocol): string {
  const words = failure.slice(0, 300);
  if (EXTRA_PROTOCOLS.has(protocol) && /unknown driver|does not accept value/i.test(words)) {
    return `${PROGRAM} has no driver for '${protocol}'; on Debian and Ubuntu, the package ${EXTRA_PACKAGE} has it (${words})`;
  }
  return words;
}

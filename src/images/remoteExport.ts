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
import { endProcess, lastWordsOf } from '../common/endedProcess.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { FairSemaphore } from '../common/fairSemaphore.js';
import type { StartedProcess } from '../common/subprocess.js';
import { inTime, withTimeLimit } from '../common/waiting.js';
import { createCgroup } from '../jail/cgroups.js';
import { startJailed } from '../jail/jail.js';
import type { JailLimits, JailUser } from '../jail/jailArguments.js';
import type { Place } from '../jail/programFiles.js';
import { networkPlaces } from '../qemu/qemuJail.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import { listenIn, type ExportSocket, type ListeningSocket } from './exportSocket.js';
import type { ClientCommand, RemoteClient } from './remoteClient.js';
import { createRemoteResources } from './remoteResources.js';
import { isWebProtocol, remoteSubject, usesNetwork, type RemoteSource } from './remoteSource.js';
import { storageDaemon } from './storageDaemon.js';
import { webClient } from './webClient.js';

/** Any reachable server answers sooner. */
const WALL_CLOCK_MS = 20_000;
/** How long it may take to write what its libraries keep, and to take its leave of the server. */
const GRACE_MS = 5000;
const MESSAGE_LIMIT = 300;
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

/** How a drive is to be provided. */
export interface ExportOptions {
  /** Prefix of the name of its directory. */
  readonly name: string;
  readonly writable: boolean;
  /** Private directory of the machine; the process runs as its owner, and has its own directory beside it. */
  readonly runDirectory: string;
  /** The machine's qemu. */
  readonly qemuBinary: string;
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
  const { runDirectory, name, roots, signal, writable, qemuBinary } = options;
  const client: RemoteClient = isWebProtocol(source.protocol) ? webClient : storageDaemon;
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
  const command = await client.startWith(source, resources);
  // Not before: a qemu of the same user could put links in the way of what is created there and changes its owner.
  await chmod(outer, 0o711);
  const user = uid === globalThis.process.geteuid?.() ? undefined : { uid, gid };
  const process = await startClient(command, user, directory, listening.fd, placesFor(source, user), undo);
  const said = lastWordsOf(process);
  await listening.handOver();

  const subject = remoteSubject(source);
  const refuse = (why: string): GuestfsError =>
    new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be opened: ${why.slice(0, MESSAGE_LIMIT)}`);
  const late = (): Error => refuse(`the server did not answer within ${WALL_CLOCK_MS / 1000} s`);
  return withTimeLimit(WALL_CLOCK_MS, late, [signal], async (limit) => {
    try {
      const running = { process, resources, listening, said, user, writable, qemuBinary };
      const size = await client.open(source, running, limit);
      await resources.close();
      if (size === undefined) throw new Error('its size is unknown');
      return { process, listening, size };
    } catch (error) {
      limit.throwIfAborted();
      throw error instanceof GuestfsError ? error : refuse(messageOf(error));
    }
  });
}

/** The files of the host that it needs to connect; undefined if it needs no network. */
function placesFor(source: RemoteSource, user: JailUser | undefined): readonly Place[] | undefined {
  return usesNetwork(source) ? networkPlaces(user, source.protocol) : undefined;
}

async function startClient(
  { program, args, channels }: ClientCommand,
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
      ...{ program, args, user, directory, limits: LIMITS, cgroup: cgroup?.entries ?? [] },
      ...{ network: places !== undefined, places: places ?? [] },
    },
    // Libraries that look for a user's files, such as keys, find the drive's own.
    { channels, fds: [listeningFd], env: { LC_ALL: 'C', HOME: '.', TMPDIR: directory } },
  );
  undo.push(() => endProcess(process));
  return process;
}

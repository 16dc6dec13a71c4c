/**
 * Writes the metadata of new disk images.
 *
 * `qemu-img` opens its image by name, for which it would need permission on it, whoever owns it. So a qemu without a
 * machine does the same work (`blockdev-create`) on the descriptor that it inherits. It has no rights on any file, and
 * respects the locks of other qemus.
 */
import type { Duplex } from 'node:stream';
import { endProcess, finalWordsOf, lastWordsOf } from '../common/endedProcess.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { withTimeLimit } from '../common/waiting.js';
import { startJailed } from '../jail/jail.js';
import type { JailLimits } from '../jail/jailArguments.js';
import { locateQemu } from '../qemu/qemuBinary.js';
import { findQemu } from '../qemu/qemuJail.js';
import { QmpClient, QmpError } from '../qemu/qmpClient.js';
import { isolatedArguments } from './isolatedQemu.js';

/** An image to be made. */
export interface NewImage {
  /** Descriptor of the file or device, for reading and writing. */
  readonly fd: number;
  readonly kind: 'file' | 'block';
  /** Options of the drivers in `BlockdevCreateOptions` (qemu's qapi/block-core.json), besides the file's name or node. */
  readonly file: { readonly size: number; readonly preallocation?: string };
  /** undefined: only the file is made. */
  readonly qcow2?: Readonly<Record<string, unknown>>;
}

/** Generous, since writing all of a preallocated disk can take long; the caller's signal can end it earlier. */
const WALL_CLOCK_MS = 3_600_000;
const LIMITS: JailLimits = { data: 2 ** 31, openFiles: 256 };
/** Unprivileged user, if the server is root. */
const NOBODY = 65534;
const MONITOR_FD = 3;
const IMAGE_FD = 4;
const IMAGE = '/dev/fdset/1';
const NODE = 'file';

/**
 * Makes an image.
 * @param qemuBinary by default that of the host's architecture, found on the PATH
 * @returns why qemu failed, in its words; undefined: it did not
 * @throws GuestfsError `QEMU_MISSING` or `QEMU_FAILED`, or the reason of the signal
 */
export async function makeImage(
  image: NewImage,
  qemuBinary: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const program = await findQemu(await locateQemu(qemuBinary));
  const qemu = await startJailed(
    {
      program,
      args: [
        ...isolatedArguments({}),
        ...['-chardev', `socket,id=monitor,fd=${MONITOR_FD}`, '-mon', 'chardev=monitor,mode=control'],
        ...['-add-fd', `fd=${IMAGE_FD},set=1`],
      ],
      user: process.geteuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined,
      limits: LIMITS,
    },
    { channels: 1, fds: [image.fd], env: { LC_ALL: 'C' } },
  );
  const said = lastWordsOf(qemu);
  try {
    const late = (): Error => new GuestfsError('QEMU_FAILED', `qemu did not make the image within ${WALL_CLOCK_MS} ms`);
    return await withTimeLimit(WALL_CLOCK_MS, late, [signal], async (limit) => {
      try {
        const monitor = await QmpClient.connect(qemu.channels[0] as Duplex, limit);
        return await make(monitor, image, limit);
      } catch (error) {
        limit.throwIfAborted();
        if (error instanceof QmpError) return error.description;
        const words = await finalWordsOf(qemu, said);
        throw new GuestfsError('QEMU_FAILED', `qemu cannot make the image: ${words || messageOf(error)}`, {
          cause: error,
        });
      }
    });
  } finally {
    await endProcess(qemu);
  }
}

async function make(monitor: QmpClient, image: NewImage, signal: AbortSignal): Promise<string | undefined> {
  const { file, kind, qcow2 } = image;
  if (kind === 'file') {
    const failure = await create(monitor, { driver: 'file', filename: IMAGE, ...file }, signal);
    if (failure !== undefined) return failure;
  }
  if (qcow2 === undefined) return undefined;
  const driver = kind === 'block' ? 'host_device' : 'file';
  const node = { driver, 'node-name': NODE, filename: IMAGE, locking: 'on', 'read-only': false };
  await monitor.execute('blockdev-add', node, signal);
  const failure = await create(monitor, { driver: 'qcow2', file: NODE, ...qcow2 }, signal);
  // Writes what is left in caches.
  await monitor.execute('blockdev-del', { 'node-name': NODE }, signal);
  return failure;
}

/** One job of a query (qemu's qapi/job.json). */
interface Job {
  readonly id?: string;
  readonly error?: string;
}

/** Runs one job; returns why it failed. */
async function create(
  monitor: QmpClient,
  options: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const id = `create-${String(options['driver'])}`;
  const concluded = monitor.waitForEvent(
    ({ event, data }) => event === 'JOB_STATUS_CHANGE' && data['id'] === id && data['status'] === 'concluded',
    signal,
  );
  concluded.catch(() => undefined);
  await monitor.execute('blockdev-create', { 'job-id': id, options }, signal);
  await concluded;
  const jobs = (await monitor.execute('query-jobs', undefined, signal)) as readonly Job[];
  await monitor.execute('job-dismiss', { id }, signal);
  return jobs.find((job) => job.id === id)?.error;
}

/**
 * Asks qemu about images in formats that only qemu understands.
 *
 * `qemu-img` cannot be run without access to files: it accepts only a path, and opening
 * `/dev/fd/N` needs permission on the image again. So the emulator itself, isolated, opens the
 * descriptor as it would for a drive, and reports what it finds.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { GuestfsError } from '../common/errors.js';
import { FairSemaphore } from '../common/fairSemaphore.js';
import type { OpenImage } from '../security/pathPolicy.js';
import { BACKED_FORMATS, type ImageFormat } from './formats.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import { createImageHead, type TemporaryDisk } from './temporaryDisk.js';
import { runIsolatedQemu, type IsolatedRun, type IsolationSettings } from './isolatedQemu.js';

/** An image to measure. */
export interface ProbedImage extends Pick<OpenImage, 'handle' | 'kind' | 'size'> {
  /** Its first bytes, which were checked and are used instead of those in the file. */
  readonly head: Buffer;
}

/**
 * @returns the virtual size in bytes
 * @throws GuestfsError `IMAGE_UNUSABLE` if qemu cannot open the image in that format
 */
export type ForeignImageProbe = (
  image: ProbedImage,
  format: ImageFormat,
  subject: string,
  signal: AbortSignal,
) => Promise<bigint>;

const MEMORY_BYTES = 1 << 30;
const WALL_CLOCK_MS = 30_000;
/** Each keeps a processor busy for 50 ms: more at once would only compete. */
const MAX_PARALLEL = 2;
/** Waiting probes of one client: as many as a machine can have drives. */
const MAX_WAITING = 256;

/** What a probe works with. */
export interface ProbeSettings extends Omit<IsolationSettings, 'user'> {
  /** Each probe runs as its own user: without namespaces and Landlock, it could otherwise read other probes' images. */
  readonly users: Pick<QemuUsers, 'acquire'>;
}

/** Makes a probe. */
export function createForeignProbe({ users, ...settings }: ProbeSettings): ForeignImageProbe {
  const turns = new FairSemaphore({
    parallel: MAX_PARALLEL,
    perClient: MAX_PARALLEL,
    waiting: MAX_WAITING,
    limit: 'image-probes-waiting',
    tasks: 'images to be probed',
  });
  return (image, format, subject, signal) =>
    turns.run(async () => {
      // For reading, qemu requires a read-only descriptor, even if the image was opened for writing.
      let head: TemporaryDisk | undefined;
      const user = await users.acquire();
      let reader: FileHandle | undefined;
      try {
        reader = await open(`/proc/self/fd/${image.handle.fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
        head = await createImageHead(tmpdir(), `guestfs-grpc-${randomUUID()}`, image.size, image.head);
        const { overLimit, failure, size, lastMessage } = await runIsolatedQemu(
          { ...settings, user },
          {
            args: ['-add-fd', 'fd=3,set=1', '-add-fd', 'fd=4,set=2'],
            commands: commands(image.kind, format),
            fds: [reader.fd, head.handle.fd],
            memoryBytes: MEMORY_BYTES,
            wallClockMs: WALL_CLOCK_MS,
            signal,
          },
        );
        if (overLimit) throw refuse(subject, format, 'reading it takes too long');
        if (failure !== undefined)
          throw refuse(subject, format, failure.replaceAll('/dev/fdset/1', 'it').slice(0, 300));
        // Killed by a limit, or the emulator is missing.
        if (size === undefined)
          throw refuse(subject, format, lastMessage.slice(0, 200) || 'qemu failed without a message');
        return size;
      } finally {
        await Promise.all([reader?.close(), head?.handle.close()]);
        await user?.release();
      }
    }, signal);
}

function commands(kind: OpenImage['kind'], format: ImageFormat): IsolatedRun['commands'] {
  const readOnly = { 'read-only': true } as const;
  const fileNode = (name: string, set: number, driver: string) => ({
    ...{ driver, filename: `/dev/fdset/${set}`, 'node-name': name, locking: 'off', ...readOnly },
  });
  const nodes = [
    fileNode('image-body', 1, kind === 'block' ? 'host_device' : 'file'),
    fileNode('image-head', 2, 'file'),
    { driver: 'qcow2', 'node-name': 'image-file', file: 'image-head', backing: 'image-body', ...readOnly },
    {
      driver: format,
      file: 'image-file',
      'node-name': 'image',
      ...readOnly,
      ...(BACKED_FORMATS.has(format) ? { backing: null } : {}),
    },
  ];
  return nodes.map((node) => ({ execute: 'blockdev-add', arguments: node }));
}

function refuse(subject: string, format: ImageFormat, why: string): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be opened in format '${format}': ${why}`);
}

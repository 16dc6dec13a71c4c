/**
 * Asks qemu about images in formats that only qemu understands.
 *
 * `qemu-img` cannot be run without a right on any file: it takes a path only, and opening
 * `/dev/fd/N` needs a right on the image again. So the emulator itself, isolated, opens the
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

/** An image to be measured. */
export interface ProbedImage extends Pick<OpenImage, 'handle' | 'kind' | 'size'> {
  /** Its first bytes, as they were checked: these count. */
  readonly head: Buffer;
}

/**
 * @returns bytes that a guest would see
 * @throws GuestfsError `IMAGE_UNUSABLE` when qemu cannot open the image in that format
 */
export type ForeignImageProbe = (
  image: ProbedImage,
  format: ImageFormat,
  subject: string,
  signal: AbortSignal,
) => Promise<bigint>;

const MEMORY_BYTES = 1 << 30;
const WALL_CLOCK_MS = 30_000;
/** Each takes a processor for 50 ms: more at a time only fight. */
const MAX_PARALLEL = 2;
/** Of one client: as many as a machine can have drives. */
const MAX_WAITING = 256;

/** What a probe works with. */
export interface ProbeSettings extends Omit<IsolationSettings, 'user'> {
  /** Each look at an image has a user of its own: where users are all that keeps them apart, others' images are open too. */
  readonly users: Pick<QemuUsers, 'acquire'>;
}

/** Makes a probe. */
export function createForeignProbe({ users, ...settings }: ProbeSettings): ForeignImageProbe {
  const turns = new FairSemaphore({
    parallel: MAX_PARALLEL,
    perClient: MAX_PARALLEL,
    waiting: MAX_WAITING,
    limit: 'image-probes-waiting',
    tasks: 'images to be looked at',
  });
  return (image, format, subject, signal) =>
    turns.run(async () => {
      // To read, qemu wants a descriptor that cannot write, whatever the image was opened for.
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
        // Killed by a limit, or no emulator at all.
        if (size === undefined) throw refuse(subject, format, lastMessage.slice(0, 200) || 'qemu gave up on it');
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

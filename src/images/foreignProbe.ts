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
import { setTimeout } from 'node:timers/promises';
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
  /** The image is only this part of the file; `size` is the image's. */
  readonly window?: { readonly offset: number; readonly size: number } | undefined;
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
        const name = `guestfs-grpc-${randomUUID()}`;
        head = await createImageHead(tmpdir(), name, image.size, image.head, format === 'vhdx');
        const run: IsolatedRun = {
          args: ['-add-fd', 'fd=3,set=1', '-add-fd', 'fd=4,set=2'],
          commands: commands(image, format),
          fds: [reader.fd, head.handle.fd],
          memoryBytes: MEMORY_BYTES,
          wallClockMs: WALL_CLOCK_MS,
          signal,
        };
        const { overLimit, failure, size, lastMessage } = await withResources(
          () => runIsolatedQemu({ ...settings, user }, run),
          subject,
          signal,
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

/** qemu's messages when the host has no memory or thread for it, which says nothing about the image. */
const NO_RESOURCES =
  /Resource temporarily unavailable|Cannot allocate memory|[Ff]ailed to (?:create thread|allocate memory)/;
const ATTEMPTS = 4;
const PAUSE_MS = 250;

/** Tries a probe again that failed since the host lacked something for a moment. */
export async function withResources<
  Answer extends {
    readonly failure: string | undefined;
    readonly size: bigint | undefined;
    readonly lastMessage: string;
  },
>(probe: () => Promise<Answer>, subject: string, signal: AbortSignal): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await probe();
    if (answer.size !== undefined || !NO_RESOURCES.test(`${answer.failure ?? ''}\n${answer.lastMessage}`))
      return answer;
    if (attempt === ATTEMPTS)
      throw new GuestfsError(
        'OUT_OF_MEMORY',
        `${subject} could not be probed: the server has too little memory or too few threads for it; try again later`,
        { retryAfterMs: 5000 },
      );
    await setTimeout(PAUSE_MS * attempt, undefined, { signal });
  }
}

function commands(
  { kind, window }: Pick<ProbedImage, 'kind' | 'window'>,
  format: ImageFormat,
): IsolatedRun['commands'] {
  // qemu replays the log of a VHDX when it opens it for writing; it is written to the copy of its start.
  const access = { 'read-only': format !== 'vhdx' };
  const fileNode = (name: string, set: number, driver: string, options: object) => ({
    ...{ driver, filename: `/dev/fdset/${set}`, 'node-name': name, locking: 'off', ...options },
  });
  const nodes = [
    fileNode(window === undefined ? 'image-body' : 'image-whole', 1, kind === 'block' ? 'host_device' : 'file', {
      'read-only': true,
    }),
    ...(window === undefined
      ? []
      : [{ driver: 'raw', file: 'image-whole', 'node-name': 'image-body', 'read-only': true, ...window }]),
    fileNode('image-head', 2, 'file', access),
    { driver: 'qcow2', 'node-name': 'image-file', file: 'image-head', backing: 'image-body', ...access },
    {
      driver: format,
      file: 'image-file',
      'node-name': 'image',
      ...access,
      ...(BACKED_FORMATS.has(format) ? { backing: null } : {}),
    },
  ];
  return nodes.map((node) => ({ execute: 'blockdev-add', arguments: node }));
}

function refuse(subject: string, format: ImageFormat, why: string): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be opened in format '${format}': ${why}`);
}

/**
 * `copy_out`: from the guest into a directory of the server.
 *
 * Files are first unpacked into a new directory next to their destination. So nothing that already
 * exists there, such as a link from an earlier copy, can redirect them, and a failed copy leaves
 * nothing behind.
 */
import { constants } from 'node:fs';
import { lstat, mkdir, mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { isDir, isFile } from '../../../gen/calls/file.js';
import { download, tarOut } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../common/errors.js';
import { encodeGuestText, printable } from '../../common/guestText.js';
import type { DiskReservation } from '../../images/diskQuota.js';
import { bytesBelow } from '../../images/fileSizes.js';
import { fileIdentity } from '../../security/pathPolicy.js';
import type { LibraryContext } from '../context.js';
import { refused } from '../refusal.js';
import { openTarget, pathOf, splitPath } from './hostPath.js';
import { publish, publishEntries } from './publish.js';
import { startUnpacking, takeOver, type Tar } from './tarProcess.js';

/** Temporary name of the guest's file or directory. */
const RECEIVED = 'received';

/** Room for what is received. */
type Room = Pick<DiskReservation, 'grow'>;

function sizeOf(pieces: readonly Buffer[]): bigint {
  return BigInt(pieces.reduce((sum, { length }) => sum + length, 0));
}

async function receiveFile({ daemon }: LibraryContext, remotepath: string, path: string, room: Room): Promise<void> {
  const file = await open(path, 'wx', 0o666);
  try {
    await daemon.download(download, { remotefilename: remotepath }, async (pieces) => {
      await room.grow(sizeOf(pieces));
      for (const piece of pieces) await file.writeFile(piece);
    });
  } finally {
    await file.close();
  }
}

/** Feeds pieces of an archive to tar, which may exit at any moment. */
async function feed(tar: Tar, channel: Duplex, pieces: readonly Buffer[]): Promise<void> {
  // If tar succeeded, the rest is padding.
  if (!channel.writable) return tar.finish();
  let hasRoom = true;
  for (const piece of pieces) hasRoom = channel.write(piece);
  if (hasRoom) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      channel.off('drain', done).off('close', done);
      resolve();
    };
    channel.on('drain', done).on('close', done);
    if (channel.destroyed) done();
  });
}

async function receiveDirectory(
  { daemon, signal }: LibraryContext,
  remotepath: string,
  path: string,
  room: Room,
): Promise<void> {
  await mkdir(path, 0o777);
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const tar = await startUnpacking(directory);
    const [channel] = tar.process.channels as [Duplex];
    // A tar that fails closes its end; the reason follows when it is awaited.
    channel.on('error', () => undefined);
    channel.resume();
    try {
      await daemon.download(tarOut, { directory: remotepath, excludes: undefined }, async (pieces) => {
        await room.grow(sizeOf(pieces));
        await feed(tar, channel, pieces);
      });
      channel.end();
      await tar.finish();
    } finally {
      await tar.abandon();
      channel.destroy();
    }
    await takeOver(directory, signal);
  } finally {
    await directory.close();
  }
}

/** Receives into a new directory, and moves the result to its destination. */
async function receive(
  context: LibraryContext,
  remotepath: string,
  isPlainFile: boolean,
  target: FileHandle,
): Promise<void> {
  const place = Buffer.from(pathOf(target));
  const name = encodeGuestText(splitPath(remotepath).name);
  const { disk, signal } = context;
  const staging = await mkdtemp(`${pathOf(target)}/.copy_out-`);
  let room: DiskReservation | undefined;
  try {
    const received = `${staging}/${RECEIVED}`;
    const file = fileIdentity(await lstat(staging, { bigint: true }));
    [room] = (await disk.reserve([{ bytes: 0n, file }], signal)) as [DiskReservation];
    await (isPlainFile ? receiveFile : receiveDirectory)(context, remotepath, received, room);
    // Many small files take more than their archive.
    await room.settle(() => bytesBelow({ directories: [staging], readOnly: [] }, new Set(), signal));
    // The guest's root, and a path that ends in a dot, have no name of their own.
    if (name.length === 0 || name.equals(Buffer.from('.'))) await publishEntries(Buffer.from(received), place);
    else await publish(Buffer.from(received), Buffer.concat([place, Buffer.from('/'), name]));
  } finally {
    await rm(staging, { recursive: true, force: true }).finally(() => room?.release());
  }
}

export async function copyOut(context: LibraryContext, remotepath: string, localdir: string): Promise<void> {
  const { daemon, imageRoots } = context;
  if (splitPath(remotepath).name === '..')
    throw refused('remotepath', `'${printable(remotepath)}' does not end in a name`);
  const target = await openTarget(localdir, imageRoots);
  try {
    const isPlainFile = (await daemon.call(isFile, { path: remotepath })).fileflag;
    if (!isPlainFile && !(await daemon.call(isDir, { path: remotepath })).dirflag) {
      throw new GuestfsError('EINVAL', `'${printable(remotepath)}' is not a file or directory`);
    }
    await receive(context, remotepath, isPlainFile, target);
  } catch (error) {
    throw hostFailure(error);
  } finally {
    await target.close();
  }
}

/** A failure of the server's file system, as an error for the client. */
function hostFailure(error: unknown): unknown {
  if (error instanceof GuestfsError || typeof error !== 'object' || error === null) return error;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string'
    ? new GuestfsError(code, `the copy cannot be written on the server: ${code}`, { cause: error })
    : error;
}

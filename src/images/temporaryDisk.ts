/**
 * Disks that live as long as one qemu: overlays of read-only drives, copies of the start of images, and scratch drives.
 *
 * Their file is unlinked as soon as it is open. qemu gets it as a descriptor, so
 * no one else can open what a guest wrote, and nothing is left behind however
 * the server and qemu end.
 */
import { constants } from 'node:fs';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { systemErrorCode } from '../security/pathPolicy.js';
import { writeEmptyQcow2, writeQcow2Head } from './emptyQcow2.js';
import type { ImageFormat } from './formats.js';
import { writeCover, type MappedSource, type MappingBudget } from './mappedFile.js';

/** An open file without a name. */
export interface TemporaryDisk {
  readonly handle: FileHandle;
  readonly format: ImageFormat;
}

/** Creates an empty qcow2 image that receives the writes to a read-only drive. */
export async function createOverlay(directory: string, name: string, virtualSize: bigint): Promise<TemporaryDisk> {
  return fill(directory, name, async (handle) => {
    await writeEmptyQcow2(handle, virtualSize);
    return 'qcow2';
  });
}

/**
 * Creates a qcow2 image that contains `head`; the rest comes from its backing node. It is read-only, unless it has to receive
 * what opening the image writes.
 */
export async function createImageHead(
  directory: string,
  name: string,
  virtualSize: bigint,
  head: Buffer,
  isWritable = false,
): Promise<TemporaryDisk> {
  const { handle, format } = await fill(directory, name, async (file) => {
    await writeQcow2Head(file, virtualSize, head);
    return 'qcow2';
  });
  return isWritable ? { handle, format } : forReading({ handle, format });
}

/** A cover over a file, for reading. */
export interface ImageCover extends TemporaryDisk {
  /** How many bytes were written. */
  readonly written: number;
}

/**
 * Creates a qcow2 image that makes a file an image, see {@link writeCover}.
 * @throws BadImageHeader
 */
export async function createCover(
  directory: string,
  name: string,
  source: MappedSource,
  budget: MappingBudget,
): Promise<ImageCover> {
  let written = 0;
  const disk = await fill(directory, name, async (file) => {
    written = await writeCover(file, source, budget);
    return 'qcow2';
  });
  return { ...(await forReading(disk)), written };
}

/** For reading, qemu requires a read-only descriptor. */
async function forReading({ handle, format }: TemporaryDisk): Promise<TemporaryDisk> {
  try {
    return { handle: await open(`/proc/self/fd/${handle.fd}`, constants.O_RDONLY), format };
  } finally {
    await handle.close();
  }
}

/** Creates a drive of zeros that takes no space until it is written. */
export async function createScratchDisk(directory: string, name: string, size: bigint): Promise<TemporaryDisk> {
  return fill(directory, name, async (handle) => {
    try {
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw Object.assign(new Error(), { code: 'EFBIG' });
      await handle.truncate(Number(size));
      return 'raw';
    } catch (error) {
      // File systems limit the size of files, not the virtual size of a qcow2 image.
      if (systemErrorCode(error) !== 'EFBIG') throw error;
      await writeEmptyQcow2(handle, size);
      return 'qcow2';
    }
  });
}

/** Creates an empty file for reading and writing, and removes its name at once. */
export async function createUnnamedFile(directory: string, name: string): Promise<FileHandle> {
  const path = join(directory, name);
  const handle = await open(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    await unlink(path);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function fill(
  directory: string,
  name: string,
  write: (handle: FileHandle) => Promise<ImageFormat>,
): Promise<TemporaryDisk> {
  let handle: FileHandle | undefined;
  try {
    handle = await createUnnamedFile(directory, name);
    return { handle, format: await write(handle) };
  } catch (error) {
    await handle?.close();
    if (error instanceof RangeError)
      throw new GuestfsError('EFBIG', `a temporary disk cannot be created: ${error.message}`, { cause: error });
    const code = systemErrorCode(error);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new GuestfsError(code, 'the server has no space left for temporary disks', { cause: error });
    }
    throw error;
  }
}

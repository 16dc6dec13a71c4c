/**
 * Disks that live as long as one qemu: overlays of read-only drives, and scratch drives.
 *
 * Their file is unlinked as soon as it is open. qemu has it as a descriptor, so
 * nobody else can open what a guest wrote, and nothing is left behind however
 * server and qemu end.
 */
import { constants } from 'node:fs';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { systemErrorCode } from '../security/pathPolicy.js';
import { writeEmptyQcow2 } from './emptyQcow2.js';
import type { ImageFormat } from './formats.js';

/** An open file without a name. */
export interface TemporaryDisk {
  readonly handle: FileHandle;
  readonly format: ImageFormat;
}

/** Makes an empty qcow2 image that takes the writes to a read-only drive. */
export async function createOverlay(directory: string, name: string, virtualSize: bigint): Promise<TemporaryDisk> {
  return fill(directory, name, async (handle) => {
    await writeEmptyQcow2(handle, virtualSize);
    return 'qcow2';
  });
}

/** Makes a drive of zeros that takes no space until it is written. */
export async function createScratchDisk(directory: string, name: string, size: bigint): Promise<TemporaryDisk> {
  return fill(directory, name, async (handle) => {
    try {
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw Object.assign(new Error(), { code: 'EFBIG' });
      await handle.truncate(Number(size));
      return 'raw';
    } catch (error) {
      // File systems limit the length of files, not what a qcow2 image stands for.
      if (systemErrorCode(error) !== 'EFBIG') throw error;
      await writeEmptyQcow2(handle, size);
      return 'qcow2';
    }
  });
}

async function fill(directory: string, name: string, write: (handle: FileHandle) => Promise<ImageFormat>): Promise<TemporaryDisk> {
  const path = join(directory, name);
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    await unlink(path);
    return { handle, format: await write(handle) };
  } catch (error) {
    await handle?.close();
    if (error instanceof RangeError) throw new GuestfsError('EFBIG', `a temporary disk cannot be made: ${error.message}`, { cause: error });
    const code = systemErrorCode(error);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new GuestfsError(code, 'the server has no space left for temporary disks', { cause: error });
    }
    throw error;
  }
}

/** Reads the facts about an appliance's root image that a launch needs: format, size, and UUID of the file system. */
import type { FileHandle } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';

/** The root image of an appliance. */
export interface RootImage {
  readonly format: 'raw' | 'qcow2';
  /** Size of the disk as the appliance sees it, bytes. */
  readonly virtualSize: bigint;
  /** UUID of the ext file system; undefined for a qcow2 image, for which only the manifest has it. */
  readonly uuid: string | undefined;
}

const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');
const SUPERBLOCK_AT = 1024;
const EXT_MAGIC_AT = SUPERBLOCK_AT + 0x38;
const EXT_MAGIC = 0xef53;
const EXT_UUID_AT = SUPERBLOCK_AT + 0x68;

/**
 * Inspects an open root image; `path` is for messages.
 * @throws GuestfsError `APPLIANCE_UNUSABLE` if it is neither qcow2 nor an ext file system
 */
export async function inspectRoot(file: FileHandle, path: string): Promise<RootImage> {
  const head = Buffer.alloc(2048);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  if (bytesRead >= 32 && head.subarray(0, 4).equals(QCOW2_MAGIC)) {
    return { format: 'qcow2', virtualSize: head.readBigUInt64BE(24), uuid: undefined };
  }
  if (bytesRead < head.length || head.readUInt16LE(EXT_MAGIC_AT) !== EXT_MAGIC) {
    throw new GuestfsError(
      'APPLIANCE_UNUSABLE',
      `${path} is not an appliance's root: it holds no ext2, ext3 or ext4 file system`,
    );
  }
  const { size } = await file.stat();
  return { format: 'raw', virtualSize: BigInt(size), uuid: formatUuid(head.subarray(EXT_UUID_AT, EXT_UUID_AT + 16)) };
}

function formatUuid(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * Times of the files in an ext4 image. mke2fs copies them from the tree that it is given, where some are those of the
 * build (a change time cannot be set, and an access time does not stay), so that no two images would be equal.
 */
import { type FileHandle, open } from 'node:fs/promises';

const SUPERBLOCK_OFFSET = 1024;
const EXT4_MAGIC = 0xef53;
/** Inodes have checksums, which a change of times would have to renew. */
const RO_COMPAT_METADATA_CSUM = 0x400;
/** Group descriptors have 64 bytes. */
const INCOMPAT_64BIT = 0x80;
const DESCRIPTOR_SIZE = 32;
/** The part of an inode that all versions of the file system have. */
const BASE_INODE_SIZE = 128;

/** Where an inode has its times, the seconds as 32 bits with a sign. */
const ATIME = 8;
const CTIME = 12;
const MTIME = 16;
/** Where it has how many bytes there are after {@link BASE_INODE_SIZE}, and what is in them. */
const EXTRA_SIZE = 128;
const CTIME_EXTRA = 132;
const MTIME_EXTRA = 136;
const ATIME_EXTRA = 140;
const CRTIME = 144;
const CRTIME_EXTRA = 148;

/** What there is to know of a file system to find its inodes. */
interface Layout {
  readonly inodeSize: number;
  readonly inodesPerGroup: number;
  /** Byte offsets of the inode tables. */
  readonly tables: readonly number[];
}

/**
 * Gives each file one time, to the second: when it was last modified, but not later than `latest` (in seconds since
 * 1970). Times of access, change and creation are the same.
 */
export async function pinInodeTimes(image: string, latest: number): Promise<void> {
  const file = await open(image, 'r+');
  try {
    const { inodeSize, inodesPerGroup, tables } = await readLayout(file);
    for (const offset of tables) {
      const table = await readAt(file, offset, inodeSize * inodesPerGroup);
      let changedTo = 0;
      for (let at = 0; at < table.length; at += inodeSize) {
        if (pinInode(table.subarray(at, at + inodeSize), latest)) changedTo = at + inodeSize;
      }
      // Not the rest: it may be a hole in the image.
      if (changedTo > 0) await file.write(table, 0, changedTo, offset);
    }
  } finally {
    await file.close();
  }
}

async function readLayout(file: FileHandle): Promise<Layout> {
  const superblock = await readAt(file, SUPERBLOCK_OFFSET, 1024);
  if (superblock.readUInt16LE(56) !== EXT4_MAGIC) throw new Error('the image has no ext4 file system');
  const unsupported =
    (superblock.readUInt32LE(100) & RO_COMPAT_METADATA_CSUM) !== 0 ||
    (superblock.readUInt32LE(96) & INCOMPAT_64BIT) !== 0;
  if (unsupported) throw new Error('the file system has features that were not asked for (metadata_csum or 64bit)');
  const inodesPerGroup = superblock.readUInt32LE(40);
  const groups = superblock.readUInt32LE(0) / inodesPerGroup;
  const blockSize = 1024 << superblock.readUInt32LE(24);
  const firstBlock = superblock.readUInt32LE(20);
  const descriptors = await readAt(file, (firstBlock + 1) * blockSize, groups * DESCRIPTOR_SIZE);
  const tables = Array.from(
    { length: groups },
    (_, group) => descriptors.readUInt32LE(group * DESCRIPTOR_SIZE + 8) * blockSize,
  );
  return { inodeSize: superblock.readUInt16LE(88), inodesPerGroup, tables };
}

/** Changes one inode; false if it was never used. */
function pinInode(inode: Buffer, latest: number): boolean {
  const used = inode.readUInt16LE(0) !== 0 || [ATIME, CTIME, MTIME].some((field) => inode.readInt32LE(field) !== 0);
  if (!used) return false;
  const time = Math.min(inode.readInt32LE(MTIME), latest);
  for (const field of [ATIME, CTIME, MTIME]) inode.writeInt32LE(time, field);
  const end = inode.length > BASE_INODE_SIZE ? BASE_INODE_SIZE + inode.readUInt16LE(EXTRA_SIZE) : BASE_INODE_SIZE;
  if (end >= CRTIME + 4) inode.writeInt32LE(time, CRTIME);
  // Nanoseconds, and the bits of seconds after 2038.
  for (const field of [CTIME_EXTRA, MTIME_EXTRA, ATIME_EXTRA, CRTIME_EXTRA])
    if (end >= field + 4) inode.writeInt32LE(0, field);
  return true;
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead !== length) throw new Error(`the image ends at ${position + bytesRead}, within its file system`);
  return buffer;
}

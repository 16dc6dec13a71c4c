/** The disk image of the root file system. */
import { open } from 'node:fs/promises';
import { createHash } from 'node:crypto';

import type { BuildContext } from './command.js';
import { pinInodeTimes } from './inodeTimes.js';
import type { Fakeroot } from './rootfs.js';
import { sourceDateEnv, toSeconds } from './sourceDate.js';

/**
 * Size of the disk. The file is sparse; the daemon keeps temporary files in
 * the free space, on a layer that is discarded with the machine.
 */
const IMAGE_SIZE = 4 * 1024 ** 3;

/**
 * Features of the file system, independent of the build machine's defaults.
 * No journal, checksums or reserve: the layer above the image is never used
 * again, and each of them costs time at boot.
 */
const FEATURES = [
  'none',
  'dir_index',
  'extent',
  'extra_isize',
  'filetype',
  'flex_bg',
  'large_file',
  'sparse_super',
  'uninit_bg',
];

/** How many files the image has room for. */
const INODES = 131072;

/**
 * Writes the tree at `tree` into a new ext4 image at `image`. Equal trees give equal images: no file is newer than
 * `sourceDate`, and none has another time than that of its last modification.
 */
export async function makeImage(
  context: BuildContext,
  tree: string,
  image: string,
  uuid: string,
  sourceDate: Date,
  fakeroot: Fakeroot,
  size = IMAGE_SIZE,
): Promise<void> {
  const file = await open(image, 'wx', 0o644);
  try {
    await file.truncate(size);
  } finally {
    await file.close();
  }
  await fakeroot.run(
    context,
    'mke2fs',
    [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-b',
      '4096',
      '-I',
      '256',
      '-m',
      '0',
      '-O',
      FEATURES.join(','),
      '-N',
      String(INODES),
      '-E',
      `root_owner=0:0,lazy_itable_init=1,hash_seed=${uuid}`,
      '-U',
      uuid,
      '-d',
      tree,
      image,
    ],
    sourceDateEnv(sourceDate),
  );
  await pinInodeTimes(image, toSeconds(sourceDate));
}

/**
 * A UUID derived from a text: equal builds give equal appliances, and different
 * texts give different UUIDs.
 */
export function uuidFrom(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  // Version 8 (custom), variant RFC 9562.
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

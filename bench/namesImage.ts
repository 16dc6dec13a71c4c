/**
 * An ext4 image with very many names: in one large directory, and in a tree. It is filled in a
 * guest, by an archive: mke2fs searches a directory for each name that it adds, and so takes
 * minutes. (A CD image is made in seconds, but its file system has no index: each stat of `find`
 * would search the directory.)
 */
import { open } from 'node:fs/promises';
import type { Bench } from './bench.js';
import { emptyFilesArchive } from './namesArchive.js';
import { timed } from './timed.js';

/** The large directory. */
export const MANY = '/many';
export const MANY_ENTRIES = 50_000;
/** All names below the root directory. */
export const ALL_NAMES = 100_000;
const TREE_FOLDERS = 500;
const IMAGE_SIZE = 256 * 1024 * 1024;
const DEVICE = '/dev/sda';

function* fileNames(): Generator<string> {
  for (let index = 0; index < MANY_ENTRIES; index += 1) yield `${MANY.slice(1)}/a-name-of-some-length-${index}`;
  const inTree = (ALL_NAMES - MANY_ENTRIES) / TREE_FOLDERS;
  for (let folder = 0; folder < TREE_FOLDERS; folder += 1) {
    for (let index = 0; index < inTree; index += 1) yield `tree/${folder}/a-name-of-some-length-${index}`;
  }
}

/** Makes the image and returns its path. */
export async function namesImage(bench: Bench): Promise<string> {
  const image = bench.image('names.img');
  const file = await open(image, 'w', 0o666);
  await file.chmod(0o666); // for qemu, which a server that runs as root starts as another user
  await file.truncate(IMAGE_SIZE);
  await file.close();
  const machine = await (await bench.service()).launchToWrite(image);
  const [seconds] = await timed(async () => {
    await machine.guest.mke2fs(DEVICE, { fstype: 'ext4', numberofinodes: BigInt(2 * ALL_NAMES) });
    await machine.guest.mount(DEVICE, '/');
    await machine.guest.tarIn(emptyFilesArchive(fileNames()), '/');
  });
  await machine.close();
  bench.say(`${ALL_NAMES} names were made in ${seconds.toFixed(1)} s`);
  return image;
}

/**
 * An ext4 image with very many names: in one large directory, and in a tree. mke2fs looks through
 * a directory for each name that it adds, and so takes minutes. (A CD image is made in seconds,
 * but its file system has no index: each stat of `find` would look through the directory.)
 */
import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Bench } from './bench.js';

/** The large directory. */
export const MANY = '/many';
export const MANY_ENTRIES = 50_000;
/** All names below the root directory. */
export const ALL_NAMES = 100_000;
const TREE_FOLDERS = 500;
const IMAGE_SIZE = '256M';

/** Makes so many empty files. */
async function fill(directory: string, count: number): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (let index = 0; index < count; index += 1) await writeFile(`${directory}/a-name-of-some-length-${index}`, '');
}

/** Makes the image and returns its path. */
export async function namesImage(bench: Bench): Promise<string> {
  const source = bench.workspace.path('names');
  await fill(`${source}${MANY}`, MANY_ENTRIES);
  const inTree = (ALL_NAMES - MANY_ENTRIES) / TREE_FOLDERS;
  for (let folder = 0; folder < TREE_FOLDERS; folder += 1) await fill(`${source}/tree/${folder}`, inTree);
  const image = bench.image('names.img');
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  await promisify(execFile)('mke2fs', ['-q', '-t', 'ext4', '-N', String(ALL_NAMES * 2), '-d', source, image, IMAGE_SIZE], { env: { ...process.env, PATH } });
  await rm(source, { recursive: true });
  return image;
}

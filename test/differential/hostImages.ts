/** Disk images of the host, for handles that are not launched. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { emptyImage } from '../support/diskImages.js';

/**
 * Creates them in a directory.
 * @returns the initial drives of the handle: none
 */
export function hostImages(directory: string): readonly string[] {
  const create = (...args: readonly string[]): void => {
    execFileSync('qemu-img', ['create', '-q', ...args], { cwd: directory });
  };
  emptyImage(join(directory, 'raw.img'), 1);
  emptyImage(join(directory, 'odd:name.img'), 1);
  mkdirSync(join(directory, 'directory'));
  create('-f', 'qcow2', 'disk.qcow2', '3M');
  create('-f', 'qcow2', '-b', 'raw.img', '-F', 'raw', 'overlay.qcow2');
  return [];
}

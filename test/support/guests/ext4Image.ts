/** ext4 images that are made without an appliance. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { emptyImage, run } from '../diskImages.js';
import type { Tree } from './guest.js';

/** Writes a tree into an ext4 file system, which begins at `offset` in the image. */
export function writeExt4(image: string, tree: Tree, offset = 0, size?: string): void {
  const top = mkdtempSync(join(tmpdir(), 'tree-'));
  try {
    for (const [path, content] of Object.entries(tree)) {
      const file = join(top, path);
      mkdirSync(dirname(file), { recursive: true });
      if (path.endsWith('/')) mkdirSync(file, { recursive: true });
      else if (typeof content === 'object' && 'link' in content) symlinkSync(content.link, file);
      else writeFileSync(file, content);
    }
    run(
      'mke2fs',
      '-q',
      '-F',
      '-t',
      'ext4',
      '-E',
      `offset=${offset}`,
      '-d',
      top,
      image,
      ...(size === undefined ? [] : [size]),
    );
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}

/** An image with one ext4 file system, and no partitions. */
export function ext4Image(path: string, tree: Tree, mebibytes = 16): string {
  emptyImage(path, mebibytes);
  writeExt4(path, tree);
  return path;
}

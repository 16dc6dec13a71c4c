/** Copyright files of packages that are unpacked, not installed: their licences ask for them, too. */
import { cp, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

const DOCUMENTATION = 'usr/share/doc';

/**
 * Puts the copyright files in the package trees at `trees` into the root tree at `root`.
 * @throws Error if a tree has none
 */
export async function installCopyrights(trees: readonly string[], root: string): Promise<void> {
  for (const tree of trees) {
    let found = 0;
    for (const name of (await readdir(join(tree, DOCUMENTATION))).sort()) {
      const source = join(tree, DOCUMENTATION, name, 'copyright');
      // The directory can be a link to that of a package that is not in this tree.
      if ((await stat(source).catch(() => undefined))?.isFile() !== true) continue;
      await mkdir(join(root, DOCUMENTATION, name), { recursive: true });
      await cp(source, join(root, DOCUMENTATION, name, 'copyright'), { dereference: true });
      found += 1;
    }
    if (found === 0) throw new Error(`there is no copyright file in ${join(tree, DOCUMENTATION)}`);
  }
}

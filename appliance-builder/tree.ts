/** Removal of directory trees that may, for a moment, have been somebody's root. */
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';

/** What is mounted in a tree, the deepest first. */
async function mountsIn(path: string): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return (
    table
      .split('\n')
      // The fifth field is the mount point; spaces and the like are in octal.
      .map((line) =>
        (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_all, code: string) =>
          String.fromCharCode(parseInt(code, 8)),
        ),
      )
      .filter((point) => point.startsWith(`${path}/`))
      .reverse()
  );
}

/**
 * Removes a file or a tree, and never what is mounted in it: a build that was killed leaves
 * /proc, /sys and /dev of the machine in its root. They are taken out first.
 */
export async function removeTree(path: string): Promise<void> {
  for (const point of await mountsIn(path)) await execa('umount', ['--lazy', '--', point]);
  await execa('rm', ['--recursive', '--force', '--one-file-system', '--', path]);
}

/** Removal of directory trees in which something may still be mounted. */
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';

/** The mount points in a tree, the deepest first. */
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
 * Removes a file or a tree, but never the contents of mounts in it: a killed build leaves the machine's /proc, /sys and
 * /dev mounted in its root. They are unmounted first.
 */
export async function removeTree(path: string): Promise<void> {
  for (const point of await mountsIn(path)) await execa('umount', ['--lazy', '--', point]);
  await execa('rm', ['--recursive', '--force', '--one-file-system', '--', path]);
}

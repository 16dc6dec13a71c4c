/** Writes generated files only if they differ, and deletes those no longer generated. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The files of one run, by path relative to the project's root. */
export type GeneratedFiles = ReadonlyMap<string, string>;

/** A folder that contains generated files with a suffix, and files that must not be touched. */
export interface GeneratedFolder {
  readonly path: string;
  readonly ending: string;
  readonly handWritten: readonly string[];
}

/** Brings the folders up to date; returns the paths that changed. */
export async function writeGenerated(
  root: string,
  files: GeneratedFiles,
  folders: readonly GeneratedFolder[],
): Promise<string[]> {
  const changed: string[] = [];
  for (const [path, content] of files) {
    const target = join(root, path);
    const present = await readFile(target, 'utf8').catch(() => undefined);
    if (present === content) continue;
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
    changed.push(path);
  }
  for (const folder of folders) {
    for (const name of await readdir(join(root, folder.path)).catch(() => [])) {
      const path = join(folder.path, name);
      if (!name.endsWith(folder.ending) || folder.handWritten.includes(name) || files.has(path)) continue;
      await rm(join(root, path));
      changed.push(path);
    }
  }
  return changed;
}

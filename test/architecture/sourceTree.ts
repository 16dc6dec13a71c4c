/** The project's sources as text, for the architecture tests. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The project's root directory; this file runs as dist/test/architecture/sourceTree.js. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Content of a file; its path is relative to the root. */
export function textOf(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Whether a file or folder exists; its path is relative to the root. */
export function exists(path: string): boolean {
  return existsSync(join(root, path));
}

/** Paths of all files below a folder, from the root, in order; none if there is no such folder. */
export function filesBelow(folder: string, ending: string): string[] {
  if (!exists(folder)) return [];
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name))
    .sort();
}

/** What one file imports. */
export interface Imports {
  /** Files of the project, from the root. */
  readonly files: readonly string[];
  /** Names of external modules. */
  readonly packages: readonly string[];
}

/** Everything that a TypeScript file imports or exports from elsewhere, types too. */
export function importsOf(path: string): Imports {
  const named = ts.preProcessFile(textOf(path), true, true).importedFiles.map(({ fileName }) => fileName);
  const relative = named.filter((name) => name.startsWith('.'));
  return {
    files: relative.map((name) => normalize(join(dirname(path), name)).replace(/\.js$/, '.ts')),
    packages: named.filter((name) => !name.startsWith('.')),
  };
}

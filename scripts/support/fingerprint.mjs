/**
 * Fingerprints of files, and stamps that remember them: a step is skipped when what it
 * reads and what it wrote are byte for byte what they were after the last time it worked.
 * Contents, not times: a checkout gives new times to old files.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inProject, root } from './project.mjs';

/**
 * Fingerprint of files and of folders with all that is in them, given from the project's
 * root; something that does not exist has a fingerprint too.
 * @param {readonly string[]} paths
 * @param {readonly string[]} [more] Other values that it depends on.
 */
export function fingerprint(paths, more = []) {
  const hash = createHash('sha256');
  /** @param {string} path */
  const add = (path) => {
    const found = statSync(join(root, path), { throwIfNoEntry: false });
    if (found?.isDirectory()) {
      for (const name of readdirSync(join(root, path)).sort()) add(join(path, name));
    } else {
      const content = found?.isFile() ? readFileSync(join(root, path)) : undefined;
      hash.update(`${path}\0${String(content?.length)}\0`).update(content ?? '');
    }
  };
  for (const path of paths) add(path);
  for (const value of more) hash.update(`\0${value}`);
  return hash.digest('hex');
}

/** Remembers the fingerprint with which a step last worked. */
export class Stamp {
  #file;

  /** @param {string} name */
  constructor(name) {
    this.#file = inProject('dist', '.stamps', name);
  }

  /** @param {string} value */
  matches(value) {
    try {
      return readFileSync(this.#file, 'utf8') === value;
    } catch {
      return false;
    }
  }

  /** @param {string} value */
  write(value) {
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, value);
  }

  /** Forgets it: before a step starts that may stop half way. */
  clear() {
    rmSync(this.#file, { force: true });
  }
}

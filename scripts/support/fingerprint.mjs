/**
 * Fingerprints of files, and stamps that remember them: a step is skipped if its inputs and outputs are byte for byte
 * the same as after its last success. Contents count, not times, because a checkout changes the times.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inProject, root } from './project.mjs';

/**
 * Fingerprint of files and folders, recursively, by paths relative to the project's root. A missing file has a
 * fingerprint too.
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

/** Remembers the fingerprint of a step's last success. */
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

  /** Forgets it, before a step that might not complete. */
  clear() {
    rmSync(this.#file, { force: true });
  }
}

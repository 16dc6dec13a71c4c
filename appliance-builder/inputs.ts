/** The inputs of a build, apart from the packages. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { MANIFEST_FORMAT } from './manifest.js';
import type { Suite } from './suite.js';

/** Modules that do not affect the result. */
const NOT_INPUTS = new Set(['main.js', 'compare.js', 'hostPackages.js', 'location.js', 'lock.js', 'verify.js']);

/**
 * Hash of the suite and of the builder itself, including its package lists:
 * while it is the same, an appliance is rebuilt only on request. The state of
 * the archive is not part of it; see `refresh` of buildAppliance.
 */
export async function hashInputs(suite: Suite): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify({ format: MANIFEST_FORMAT, suite }));
  const directory = dirname(fileURLToPath(import.meta.url));
  for (const name of (await readdir(directory)).filter((file) => file.endsWith('.js')).sort()) {
    if (NOT_INPUTS.has(name)) continue;
    hash.update(`\0${name}\0`);
    hash.update(await readFile(join(directory, name)));
  }
  return hash.digest('hex');
}

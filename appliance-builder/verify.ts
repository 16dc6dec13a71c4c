/** Shows that an appliance follows from its packages: another build, at another time and place, is identical. */
import { mkdtemp } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { type BuildOptions, type BuildResult, buildAppliance } from './build.js';
import { differencesBetween } from './compare.js';
import { removeTree } from './tree.js';

/** Outcome of {@link verifyReproducible}. */
export interface Verification extends BuildResult {
  /** How the second build differs from the first one; see {@link differencesBetween}. */
  readonly differences: readonly string[];
}

/** Builds an appliance if it is not up to date, then builds it once more elsewhere, and compares the two. */
export async function verifyReproducible(options: BuildOptions = {}): Promise<Verification> {
  const log = options.log ?? (() => undefined);
  const first = await buildAppliance(options);
  const scratch = await mkdtemp(join(dirname(first.directory), `.${basename(first.directory)}.verify-`));
  try {
    log('building it again, to compare');
    const second = await buildAppliance({ ...options, output: join(scratch, 'appliance') });
    return { ...first, differences: await differencesBetween(first.directory, second.directory) };
  } finally {
    await removeTree(scratch);
  }
}

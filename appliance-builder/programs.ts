/** Single programs, taken out of packages that depend on much more than these programs do. */
import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import type { Archive } from './archive.js';
import { type BuildContext, run } from './command.js';
import { PROGRAMS, type PackagePrograms } from './packages.js';
import type { Suite } from './suite.js';

/** Those of {@link PROGRAMS} that a suite has. */
export interface AvailablePrograms {
  readonly programs: readonly PackagePrograms[];
  /** Version of each package that they come from. */
  readonly versions: ReadonlyMap<string, string>;
  /** Packages that have to be installed for them. */
  readonly libraries: readonly string[];
}

/**
 * Finds out which of the programs a suite has, and logs those that it lacks.
 * @throws Error if a package does not depend on a library listed for it
 */
export async function findPrograms(context: BuildContext, suite: Suite, archive: Archive): Promise<AvailablePrograms> {
  const versions = await archive.candidates(PROGRAMS.map(({ packageName }) => packageName));
  const programs = PROGRAMS.filter(({ packageName }) => versions.has(packageName));
  const missing = PROGRAMS.filter((one) => !programs.includes(one)).map(({ packageName }) => packageName);
  if (missing.length > 0) context.log(`not in ${suite.name}: ${missing.join(', ')}`);
  const libraries: string[] = [];
  for (const { packageName, libraries: wanted } of programs)
    libraries.push(...librariesOf(await archive.depends(packageName), wanted));
  return { programs, versions, libraries };
}

/** Finds, in a `Depends` field, a package for each name without its version: `libpng16-16t64` for `libpng`. */
export function librariesOf(depends: string, wanted: readonly string[]): string[] {
  const names = depends.split(/[,|]/).map((dependency) => /^\s*([^\s:(]+)/.exec(dependency)?.[1] ?? '');
  return wanted.map((library) => {
    const found = names.find((name) => name.startsWith(library) && /^\d/.test(name.slice(library.length)));
    if (found === undefined) throw new Error(`no ${library} among the dependencies '${depends}'`);
    return found;
  });
}

/** Installs the programs, with their copyright files, in the root tree at `root`; unpacks them in `directory`. */
export async function installPrograms(
  context: BuildContext,
  archive: Archive,
  { programs }: AvailablePrograms,
  directory: string,
  root: string,
): Promise<void> {
  for (const { packageName, files } of programs) {
    const tree = join(directory, packageName);
    await run(context, 'dpkg-deb', ['-x', await archive.download(packageName, directory), tree]);
    for (const file of [...files, `usr/share/doc/${packageName}/copyright`]) {
      await mkdir(dirname(join(root, file)), { recursive: true });
      await cp(join(tree, file), join(root, file), { dereference: true });
    }
  }
}

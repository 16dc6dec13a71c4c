/** Single programs, taken out of packages that depend on much more than these programs do. */
import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import type { Archive } from './archive.js';
import { type BuildContext, run } from './command.js';
import { PROGRAMS, type PackagePrograms } from './packages.js';
import type { Suite } from './suite.js';

/** What there is of {@link PROGRAMS} in a suite. */
export interface AvailablePrograms {
  readonly programs: readonly PackagePrograms[];
  /** Version of each package that they come from. */
  readonly versions: ReadonlyMap<string, string>;
  /** Packages to be installed for them. */
  readonly libraries: readonly string[];
}

/**
 * Finds out what a suite has of the programs, and tells what it does not have.
 * @throws Error if a package depends on other libraries than are known here
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

/** Names of packages in a `Depends` field that begin with one of some names, followed by their version: `libpng` for `libpng16-16t64`. */
export function librariesOf(depends: string, wanted: readonly string[]): string[] {
  const names = depends.split(/[,|]/).map((dependency) => /^\s*([^\s:(]+)/.exec(dependency)?.[1] ?? '');
  return wanted.map((library) => {
    const found = names.find((name) => name.startsWith(library) && /^\d/.test(name.slice(library.length)));
    if (found === undefined) throw new Error(`there is no ${library} among '${depends}'`);
    return found;
  });
}

/** Puts the programs into the root tree at `root`, with their copyright, by way of `directory`. */
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

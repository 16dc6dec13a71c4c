/** The packages in a system's database, and what is wrong with the database. */
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { endsInLine } from '../guestFile.js';

export interface PackageList {
  readonly applications: readonly Application2[];
  /** Why packages may be missing from the list: a file, and what is wrong with it. */
  readonly notes: readonly string[];
}

export const NO_PACKAGES: PackageList = { applications: [], notes: [] };

/**
 * The packages that a database of lines has, with a note if it was cut off.
 * @param hint where else they can be found
 */
export async function fromDatabase(
  context: LibraryContext,
  path: string,
  applications: readonly Application2[],
  hint = '',
): Promise<PackageList> {
  if (!(await endsInLine(context, path))) return { applications, notes: [] };
  const last = applications.at(-1)?.app2_name ?? 'its start';
  const note = `${path} ends in the middle of a line, so it was probably cut off: packages after ${last} are missing`;
  return { applications, notes: [note + hint] };
}

/** The packages in a system's database, and what is wrong with the database. */
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';

export interface PackageList {
  readonly applications: readonly Application2[];
  /** Why packages may be missing from the list: a file, and what is wrong with it. */
  readonly notes: readonly string[];
}

export const NO_PACKAGES: PackageList = { applications: [], notes: [] };

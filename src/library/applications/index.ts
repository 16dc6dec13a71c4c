/** Applications of an inspected system: `inspect_list_applications` and its successor. */
import { inspectGetPackageFormat, inspectGetType } from '../../../gen/calls/inspection.js';
import { internalListRpmApplications } from '../../../gen/calls/internal.js';
import type { InspectionLibraryActions } from '../../../gen/libraryActions.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { listAllApks, listApkApplications } from './apk.js';
import { oldForm, sorted } from './application.js';
import { listAllDebs, listDebApplications } from './deb.js';
import type { PackageList } from './packageList.js';
import { listAllPacman, listPacmanApplications } from './pacman.js';
import { listWindowsApplications } from './windows.js';

/** Systems whose packages are in a database of a known format. */
const PACKAGED_TYPES: ReadonlySet<string> = new Set(['linux', 'hurd']);

/** The reader for each package format. */
const LISTERS = {
  rpm: async ({ daemon }: LibraryContext) => (await daemon.call(internalListRpmApplications, {})).applications2,
  deb: listDebApplications,
  pacman: listPacmanApplications,
  apk: listApkApplications,
} as const;

/** A package format whose databases can be read. */
export type PackageFormat = keyof typeof LISTERS;

/** True for a format whose databases can be read. */
export function isPackageFormat(format: string): format is PackageFormat {
  return Object.hasOwn(LISTERS, format);
}

/** The reader of a report for each package format: it reads what is there, and says what is wrong with it. */
const PATIENT_LISTERS: Readonly<Record<PackageFormat, (context: LibraryContext) => Promise<PackageList>>> = {
  rpm: async (context) => ({ applications: await LISTERS.rpm(context), notes: [] }),
  deb: listAllDebs,
  pacman: listAllPacman,
  apk: listAllApks,
};

/** The packages in a database of this format in the mounted system, sorted by name. */
export async function listPackages(context: LibraryContext, format: PackageFormat): Promise<PackageList> {
  const { applications, notes } = await PATIENT_LISTERS[format](context);
  return { applications: sorted(applications), notes };
}

/** A package format without a reader is not an error: the list is empty. */
async function list(context: LibraryContext, root: string): Promise<Application2[]> {
  const { name: type } = await context.daemon.call(inspectGetType, { root });
  const { packageformat } = await context.daemon.call(inspectGetPackageFormat, { root });
  if (type === 'windows') return sorted(await listWindowsApplications(context, root));
  return PACKAGED_TYPES.has(type) && isPackageFormat(packageformat)
    ? sorted(await LISTERS[packageformat](context))
    : [];
}

export const applicationActions: Pick<
  InspectionLibraryActions,
  'inspect_list_applications' | 'inspect_list_applications2'
> = {
  inspect_list_applications: async (context, { root }) => ({ applications: (await list(context, root)).map(oldForm) }),
  inspect_list_applications2: async (context, { root }) => ({ applications2: await list(context, root) }),
};

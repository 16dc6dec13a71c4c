/** Applications of an inspected system: `inspect_list_applications` and its successor. */
import { isDir, isFile } from '../../../gen/calls/file.js';
import { inspectGetPackageFormat, inspectGetType } from '../../../gen/calls/inspection.js';
import { internalListRpmApplications } from '../../../gen/calls/internal.js';
import type { InspectionLibraryActions } from '../../../gen/libraryActions.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { unlessDaemonFails } from '../tolerance.js';
import { listApkApplications } from './apk.js';
import { oldForm, sorted } from './application.js';
import { listDebApplications, listSingleDebs } from './deb.js';
import { listPacmanApplications } from './pacman.js';
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

/** The packages in a database of this format in the mounted system, sorted by name. */
export async function listPackages(context: LibraryContext, format: PackageFormat): Promise<Application2[]> {
  if (format === 'deb' && !(await hasDpkgStatus(context))) return sorted(await listSingleDebs(context));
  return sorted(await LISTERS[format](context));
}

/** False for images that are made without dpkg. */
async function hasDpkgStatus({ daemon }: LibraryContext): Promise<boolean> {
  const status = unlessDaemonFails(daemon.call(isFile, { path: '/var/lib/dpkg/status', followsymlinks: true }));
  if ((await status)?.fileflag === true) return true;
  const single = unlessDaemonFails(daemon.call(isDir, { path: '/var/lib/dpkg/status.d', followsymlinks: true }));
  return (await single)?.dirflag !== true;
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

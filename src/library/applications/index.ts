/** Applications of an inspected system: `inspect_list_applications` and its successor. */
import { inspectGetPackageFormat, inspectGetType } from '../../../gen/calls/inspection.js';
import { internalListRpmApplications } from '../../../gen/calls/internal.js';
import type { InspectionLibraryActions } from '../../../gen/libraryActions.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { listApkApplications } from './apk.js';
import { oldForm, sorted } from './application.js';
import { listDebApplications } from './deb.js';
import { listPacmanApplications } from './pacman.js';
import { listWindowsApplications } from './windows.js';

/** Systems whose packages are in a database of a known format. */
const PACKAGED_TYPES: ReadonlySet<string> = new Set(['linux', 'hurd']);

/** The reader for each package format. */
const LISTERS: ReadonlyMap<string, (context: LibraryContext) => Promise<Application2[]>> = new Map([
  ['rpm', async ({ daemon }) => (await daemon.call(internalListRpmApplications, {})).applications2],
  ['deb', listDebApplications],
  ['pacman', listPacmanApplications],
  ['apk', listApkApplications],
]);

/** A package format without a reader is not an error: the list is empty. */
async function list(context: LibraryContext, root: string): Promise<Application2[]> {
  const { name: type } = await context.daemon.call(inspectGetType, { root });
  const { packageformat } = await context.daemon.call(inspectGetPackageFormat, { root });
  if (type === 'windows') return sorted(await listWindowsApplications(context, root));
  const lister = PACKAGED_TYPES.has(type) ? LISTERS.get(packageformat) : undefined;
  return lister === undefined ? [] : sorted(await lister(context));
}

export const applicationActions: Pick<
  InspectionLibraryActions,
  'inspect_list_applications' | 'inspect_list_applications2'
> = {
  inspect_list_applications: async (context, { root }) => ({ applications: (await list(context, root)).map(oldForm) }),
  inspect_list_applications2: async (context, { root }) => ({ applications2: await list(context, root) }),
};

/** The applications of a system, in batches. */
import type { InspectedApplications, InspectedSystem } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../../common/errors.js';
import type { PackageFormat } from '../applications/index.js';
import { NO_PACKAGES, type PackageList } from '../applications/packageList.js';
import { isDaemonError, unlessDaemonFails } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';
import { fitting, MAX_LIST, sizeOf } from './limits.js';
import { packageUrl, type PackageContext } from './packageUrl.js';
import type { Warnings } from './warnings.js';

const FIELD = 'applications';
const ACTION = 'inspect_list_applications2';

/** The list; empty, with a warning, if it is not available. */
async function list(ask: () => Promise<PackageList>, warnings: Warnings): Promise<PackageList> {
  try {
    return await ask();
  } catch (error) {
    if (!isDaemonError(error) && !(error instanceof GuestfsError && error.reason === 'MESSAGE_TOO_LARGE')) throw error;
    const { reason, message } = GuestfsError.from(error);
    warnings.add(FIELD, ACTION, reason, message);
    return NO_PACKAGES;
  }
}

/** Makes what is mounted for a system writable, on its drives' overlays, which are discarded. */
const MAKE_WRITABLE = `
for target in /run/inspected-below /sysroot /sysroot/usr /sysroot/var; do
  mount -o remount,rw "$target" 2>/dev/null
done
:`;

/**
 * The packages in a database of this format. SQLite cannot read the database of an rpm that was running, or that was copied
 * without the files beside it, unless it can write those files.
 */
async function packagesIn(actions: ActionCalls, format: PackageFormat, warnings: Warnings): Promise<PackageList> {
  const failure = warnings.aside();
  const found = await list(() => actions.packages(format), failure);
  if (format !== 'rpm' || failure.list.length === 0) {
    warnings.take(failure);
    return found;
  }
  await unlessDaemonFails(actions.script(MAKE_WRITABLE));
  return list(() => actions.packages(format), warnings);
}

/** Why there is no application, for somebody who expects some. */
function whyNone(system: InspectedSystem, format: PackageFormat | undefined): string {
  if (system.type === 'windows') return 'the registry lists no application that can be uninstalled';
  if (format !== undefined) return `the ${format} database of this system has no packages`;
  if (system.package_format !== '' && system.package_format !== 'unknown')
    return `databases of the format ${system.package_format} cannot be read`;
  return 'this system has no package database of a known format (deb, rpm, apk, pacman)';
}

/** The applications of a system, and the format of their packages. */
export interface SystemApplications {
  readonly format: PackageFormat | undefined;
  readonly all: readonly Application2[];
}

/**
 * All applications of the mounted system, from the first of these databases that has any; a warning says why
 * there are none, or may be more.
 */
export async function listApplications(
  actions: ActionCalls,
  system: InspectedSystem,
  formats: AsyncIterable<PackageFormat>,
  warnings: Warnings,
): Promise<SystemApplications> {
  const add = ({ applications, notes }: PackageList): readonly Application2[] => {
    for (const note of notes) warnings.add(FIELD, ACTION, 'MALFORMED_FILE', note);
    return applications;
  };
  const failures = warnings.list.length;
  let first: PackageFormat | undefined;
  if (system.type === 'windows') {
    const ask = async (): Promise<PackageList> => ({
      applications: (await actions.library(ACTION, system.root)).applications2,
      notes: [],
    });
    const all = add(await list(ask, warnings));
    if (all.length > 0) return { format: undefined, all };
  } else {
    for await (const format of formats) {
      first ??= format;
      const all = add(await packagesIn(actions, format, warnings));
      if (all.length > 0) return { format, all };
    }
  }
  if (warnings.list.length === failures) warnings.add(FIELD, ACTION, 'NO_APPLICATIONS', whyNone(system, first));
  return { format: first, all: [] };
}

/** Batches of a system's applications, at least one. */
export function* batchesOf(
  root: string,
  all: readonly Application2[],
  context: PackageContext,
  warnings: Warnings,
): Generator<InspectedApplications> {
  const sound = all.filter((one) => sizeOf(one) <= MAX_LIST);
  warnings.leftOut(FIELD, all.length - sound.length);
  let rest: readonly Application2[] = sound;
  do {
    const batch = fitting(rest);
    yield { root, applications: [...batch], package_urls: batch.map((one) => packageUrl(one, context)) };
    rest = rest.slice(batch.length);
  } while (rest.length > 0);
}

/**
 * A report on disk images: the answer of `InspectionService/Inspect`, assembled from the answers of
 * actions. Beyond them, it reads os-release, crypttab and the host name of a guest.
 */
import { inspectGetMountpoints } from '../../../gen/calls/inspection.js';
import type {
  InspectedPartition,
  InspectedSystem,
  InspectRequest,
  InspectResponse,
} from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { PackageFormat } from '../applications/index.js';
import type { ActionCalls } from './actionCalls.js';
import { managerFor } from './distros.js';
import type { FoundSystem } from './foundSystem.js';
import { describeImage } from './image.js';
import { mountOthers, mountRoot, unmount } from './mounted.js';
import { trueMountpoints } from './mountpoints.js';
import { likelyFormats } from './packageFormat.js';
import { readRelease, RELEASE_FILES, USR_RELEASE_FILES, type Release } from './release.js';
import { describeSystem } from './system.js';
import { batchesOf, listApplications, type SystemApplications } from './systemApplications.js';
import { Warnings } from './warnings.js';

/** Mounts a system: all of it, or what its os-release is on. */
async function mountSystem(
  actions: ActionCalls,
  found: FoundSystem,
  isWhole: boolean,
  warnings: Warnings,
): Promise<Map<string, string>> {
  const { root, directory, isInspected } = found;
  const isMounted = await mountRoot(actions, found, warnings);
  const stated = isInspected
    ? await warnings.attempt({
        field: 'mountpoints',
        action: inspectGetMountpoints.action,
        ask: () => actions.call(inspectGetMountpoints, { root }),
      })
    : undefined;
  if (stated === undefined) return new Map([[directory === '/usr' ? '/usr' : '/', root]]);
  const mountpoints = await trueMountpoints(actions, root, stated.mountpoints, warnings);
  const wanted = isWhole ? mountpoints : new Map([...mountpoints].filter(([mountpoint]) => mountpoint === '/usr'));
  if (isMounted) await mountOthers(actions, wanted, warnings);
  return mountpoints;
}

/** The likeliest format of the packages of a system, which are not asked for. */
async function onlyFormat(
  { type }: InspectedSystem,
  formats: AsyncGenerator<PackageFormat, void>,
): Promise<SystemApplications> {
  if (type === 'windows') return { format: undefined, all: [] };
  const first = await formats.next();
  return { format: first.done === true ? undefined : first.value, all: [] };
}

/** The system, then its applications. */
async function* describeOne(
  actions: ActionCalls,
  found: FoundSystem,
  partitions: readonly InspectedPartition[],
  withoutApplications: boolean,
): AsyncGenerator<InspectResponse> {
  const systemWarnings = new Warnings();
  const mountpoints = await mountSystem(actions, found, !withoutApplications, systemWarnings);
  const isUsr = found.directory === '/usr';
  const release: Release | undefined = await readRelease(actions, isUsr ? USR_RELEASE_FILES : RELEASE_FILES);
  const system = await describeSystem(actions, found, { mountpoints, release, partitions }, systemWarnings);
  let warnings = new Warnings();
  const formats = likelyFormats(actions, system.package_format, release);
  const { format, all } = withoutApplications
    ? await onlyFormat(system, formats)
    : await listApplications(actions, system, formats, warnings);
  if (format !== undefined && system.package_format !== format) {
    system.package_format = format;
    if (release !== undefined && ['', 'unknown'].includes(system.package_management))
      system.package_management = managerFor(format, release);
  }
  await unmount(actions, found, systemWarnings);
  yield { part: { $case: 'system', value: system }, warnings: systemWarnings.list };
  if (withoutApplications) return;
  const id = release?.id ?? '';
  const known = ['', 'unknown'].includes(system.distro) ? '' : system.distro;
  const context = { format, id: id === '' ? known : id, version: release?.versionId ?? '' };
  for (const batch of batchesOf(found.root, all, context, warnings)) {
    yield { part: { $case: 'applications', value: batch }, warnings: warnings.list };
    warnings = new Warnings();
  }
}

/**
 * The parts of a report, in the order in which clients get them.
 * @throws GuestfsError if the appliance, the call or the session ends
 */
export async function* inspectionReport(
  actions: ActionCalls,
  request: Pick<InspectRequest, 'keys' | 'without_applications' | 'include_snapshots'>,
): AsyncGenerator<InspectResponse> {
  const imageWarnings = new Warnings();
  const { image, systems } = await describeImage(actions, request, imageWarnings);
  yield { part: { $case: 'image', value: image }, warnings: imageWarnings.list };
  for (const found of systems) yield* describeOne(actions, found, image.partitions, request.without_applications);
}

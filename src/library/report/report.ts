/**
 * A report on disk images: the answer of `InspectionService/Inspect`, assembled from the answers of
 * actions. It reads nothing from a guest that the actions do not read.
 */
import type { InspectRequest, InspectResponse } from '../../../gen/proto/guestfs/v1/inspection_report.js';
import type { ActionCalls } from './actionCalls.js';
import { describeImage } from './image.js';
import { describeSystem } from './system.js';
import { describeApplications } from './systemApplications.js';
import { Warnings } from './warnings.js';

/**
 * The parts of a report, in the order in which clients get them.
 * @throws GuestfsError if the appliance, the call or the session ends
 */
export async function* inspectionReport(
  actions: ActionCalls,
  { keys, without_applications: withoutApplications }: InspectRequest,
): AsyncGenerator<InspectResponse> {
  const imageWarnings = new Warnings();
  const image = await describeImage(actions, keys, imageWarnings);
  yield { part: { $case: 'image', value: image }, warnings: imageWarnings.list };
  for (const root of image.roots) {
    const systemWarnings = new Warnings();
    const system = await describeSystem(actions, root, systemWarnings);
    yield { part: { $case: 'system', value: system }, warnings: systemWarnings.list };
    if (withoutApplications) continue;
    let warnings = new Warnings();
    for await (const batch of describeApplications(actions, root, system.mountpoints, warnings)) {
      yield { part: { $case: 'applications', value: batch }, warnings: warnings.list };
      warnings = new Warnings();
    }
  }
}

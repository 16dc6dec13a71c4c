/** A report of Inspect in one piece. */
import type { Application2 } from '../../gen/proto/guestfs/v1/structs.js';
import type {
  InspectedImage,
  InspectedSystem,
  InspectResponse,
  InspectWarning,
} from '../../gen/proto/guestfs/v1/inspection_report.js';

/** An application, and its package URL; empty if there is none. */
export interface FoundApplication extends Application2 {
  readonly package_url: string;
}

/** A system with all of its applications, and what could not be determined about either. */
export interface FoundSystem extends InspectedSystem {
  readonly applications: FoundApplication[];
  readonly warnings: InspectWarning[];
}

/** What is on the images. */
export interface Report {
  readonly image: InspectedImage;
  readonly systems: FoundSystem[];
  readonly warnings: InspectWarning[];
}

/**
 * Puts the parts of a report together.
 * @throws Error if the server breaks the order of the parts
 */
export async function wholeReport(parts: AsyncIterable<InspectResponse>): Promise<Report> {
  let report: Report | undefined;
  for await (const { part, warnings } of parts) {
    if (part === undefined) continue;
    if (part.$case === 'image') {
      report = { image: part.value, systems: [], warnings };
      continue;
    }
    if (part.$case === 'system') {
      report?.systems.push({ ...part.value, applications: [], warnings: [...warnings] });
      continue;
    }
    const { root, applications, package_urls: urls } = part.value;
    // A file system can have several systems, so the name of its root does not tell which one is meant.
    const system = report?.systems.at(-1);
    if (system?.root !== root) throw new Error(`the server reports applications of ${root} out of order`);
    for (const [index, one] of applications.entries())
      system.applications.push({ ...one, package_url: urls[index] ?? '' });
    system.warnings.push(...warnings);
  }
  if (report === undefined) throw new Error('the server ended the report before it began');
  return report;
}

/** The report as JSON. As in JSON of protobuf, a number of 64 bits is a string. */
export function reportAsJson(report: Report): string {
  const plain = (_key: string, value: unknown): unknown => {
    if (typeof value === 'bigint') return value.toString();
    return value instanceof Map ? Object.fromEntries(value) : value;
  };
  return `${JSON.stringify(report, plain, 2)}\n`;
}

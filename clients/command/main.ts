/** `guestfs-grpc inspect`: prints what a server finds on disk images. */
import { InspectionServiceService } from '../../gen/proto/guestfs/v1/inspection.js';
import type { InspectRequest, InspectWarning } from '../../gen/proto/guestfs/v1/inspection_report.js';
import { billOfMaterials } from './billOfMaterials.js';
import { readInspectCommandLine, type InspectCommandLine } from './commandLine.js';
import { EXIT_USAGE, exitCodeOf } from './exitCode.js';
import { reportAsJson, wholeReport, type Report } from './report.js';
import { connectTo } from './server.js';

function requestOf({ images, imageFormat, keys }: InspectCommandLine): InspectRequest {
  return {
    drives: images.map((value) => ({
      source: { $case: 'path', value },
      format: imageFormat,
      blocksize: undefined,
      backing_formats: [],
    })),
    keys: [...keys],
    without_applications: false,
    settings: undefined,
    session_id: undefined,
    include_snapshots: false,
  };
}

/** Text of a guest for a terminal: nothing in it controls that. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '?');
}

function warn(root: string, { field, reason, message }: InspectWarning): void {
  process.stderr.write(
    `guestfs-grpc: ${root === '' ? '' : `${printable(root)}: `}${printable(`${field}: ${reason}: ${message}`)}\n`,
  );
}

function warnOf({ warnings, systems }: Report): void {
  for (const warning of warnings) warn('', warning);
  for (const system of systems) for (const warning of system.warnings) warn(system.root, warning);
}

async function main(args: readonly string[]): Promise<void> {
  const line = readInspectCommandLine(args);
  if (typeof line === 'string') {
    process.stdout.write(line);
    return;
  }
  const client = connectTo(line.server, process.env);
  try {
    const report = await wholeReport(client.stream(InspectionServiceService.inspect, requestOf(line)));
    warnOf(report);
    const text =
      line.format === 'json' ? reportAsJson(report) : billOfMaterials(report, { images: line.images, at: new Date() });
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    });
  } finally {
    client.close();
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`guestfs-grpc: ${printable(error instanceof Error ? error.message : String(error))}\n`);
  process.exitCode = exitCodeOf(error);
  if (process.exitCode === EXIT_USAGE) process.stderr.write('Try --help.\n');
});

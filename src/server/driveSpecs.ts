/** The drives that requests name. */
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { badArgument, GuestfsError } from '../common/errors.js';
import { driveFromRequest, scratchDriveFromRequest } from '../images/addDriveRequest.js';
import type { Drive } from '../images/drive.js';
import type { ServerPolicy } from '../security/policy.js';

/** What the arguments of `add_drive` and `add_drive_scratch` are called in a DriveSpec. */
const SPEC_FIELDS: Readonly<Record<string, string>> = { filename: 'path', size: 'scratch_size' };

/** Names the fields that an error is about as those of the drive at `index`. */
function inDrive(index: number, error: unknown): unknown {
  if (!(error instanceof GuestfsError) || error.details.fields === undefined) return error;
  const fields = error.details.fields.map(({ field, description }) => ({ field: `drives[${index}].${SPEC_FIELDS[field] ?? field}`, description }));
  return new GuestfsError(error.reason, `drives[${index}]: ${error.message}`, { ...error.details, fields, cause: error });
}

async function driveOf(spec: DriveSpec, policy: ServerPolicy): Promise<Drive> {
  const { source, label, blocksize, format, cachemode, discard, writable } = spec;
  if (source === undefined) throw badArgument('source', 'set either path or scratch_size');
  const common = { ...(label === undefined ? {} : { label }), ...(blocksize === undefined ? {} : { blocksize }) };
  if (source.$case === 'scratch_size') return scratchDriveFromRequest(source.value, common);
  if (source.value.includes('\0')) throw badArgument('path', 'must not contain a NUL character');
  if (source.value === '') throw badArgument('path', 'must not be empty');
  return driveFromRequest(source.value, {
    ...common,
    readonly: !writable,
    ...(format === undefined ? {} : { format }),
    ...(cachemode === undefined ? {} : { cachemode }),
    ...(discard === undefined ? {} : { discard }),
  }, policy.imageRoots);
}

/**
 * Checks the field `drives` of a request.
 * @throws GuestfsError BAD_ARGUMENT, NOT_ALLOWED, and what is wrong with an image
 */
export function drivesOf(specs: readonly DriveSpec[], policy: ServerPolicy): Promise<Drive[]> {
  return Promise.all(specs.map((spec, index) => driveOf(spec, policy).catch((error: unknown) => {
    throw inDrive(index, error);
  })));
}

/** The drives in requests. */
import type { DriveSpec, RemoteDrive } from '../../gen/proto/guestfs/v1/session.js';
import { badArgument, GuestfsError } from '../common/errors.js';
import { drivesFromRequest, scratchDriveFromRequest, type DriveSpecOptions } from '../images/addDriveRequest.js';
import type { Drive } from '../images/drive.js';
import { remoteProtocol } from '../images/remoteSource.js';
import { MAX_DRIVES } from '../qemu/limits.js';
import type { ImageRoots } from '../security/pathPolicy.js';

type Source = NonNullable<DriveSpec['source']>;

/** The names of the arguments of `add_drive` and `add_drive_scratch` in a DriveSpec with that source. */
const SPEC_FIELDS: Readonly<Record<Source['$case'], Readonly<Record<string, string>>>> = {
  path: { filename: 'path' },
  scratch_size: { size: 'scratch_size' },
  remote: {
    ...{
      protocol: 'remote.protocol',
      server: 'remote.server',
      filename: 'remote.filename',
      username: 'remote.username',
      secret: 'remote.secret',
    },
    readonly: 'writable',
  },
};

/** Renames the fields in an error to those of the drive at `index`. */
function inDrive(index: number, source: Source | undefined, error: unknown): unknown {
  if (!(error instanceof GuestfsError)) return error;
  const { fields, ...details } = error.details;
  if (fields === undefined) return error;
  const names = source === undefined ? {} : SPEC_FIELDS[source.$case];
  const own = fields.map(({ field, description }) => ({ field: names[field] ?? field, description }));
  return new GuestfsError(
    error.reason,
    `drives[${index}]: ${own.map(({ field, description }) => `${field}: ${description}`).join('; ')}`,
    {
      ...details,
      fields: own.map(({ field, description }) => ({ field: `drives[${index}].${field}`, description })),
      cause: error,
    },
  );
}

async function fileDrives(path: string, options: DriveSpecOptions, imageRoots: ImageRoots): Promise<readonly Drive[]> {
  if (path.includes('\0')) throw badArgument('path', 'must not contain a NUL character');
  if (path === '') throw badArgument('path', 'must not be empty');
  return drivesFromRequest(path, options, imageRoots);
}

async function remoteDrives(
  { protocol, server, filename, username, secret }: RemoteDrive,
  options: DriveSpecOptions,
  imageRoots: ImageRoots,
): Promise<readonly Drive[]> {
  const where = {
    protocol: remoteProtocol(protocol),
    server,
    ...(username === undefined ? {} : { username }),
    ...(secret === undefined ? {} : { secret }),
  };
  return drivesFromRequest(filename, { ...options, ...where }, imageRoots);
}

/** One, or those of an OVA. */
async function drivesOfSpec(spec: DriveSpec, imageRoots: ImageRoots): Promise<readonly Drive[]> {
  const { source, label, blocksize, format, cachemode, discard, writable, backing_formats, key } = spec;
  if (source === undefined) throw badArgument('source', 'is not set: it states where the content of the drive is');
  const common = { ...(label === undefined ? {} : { label }), ...(blocksize === undefined ? {} : { blocksize }) };
  if (source.$case === 'scratch_size') {
    if (backing_formats.length > 0) throw badArgument('backing_formats', 'cannot be given for a scratch drive');
    if (key !== undefined) throw badArgument('key', 'cannot be given for a scratch drive');
    return [scratchDriveFromRequest(source.value, common)];
  }
  const options = {
    ...common,
    readonly: !writable,
    ...(format === undefined ? {} : { format }),
    ...(cachemode === undefined ? {} : { cachemode }),
    ...(discard === undefined ? {} : { discard }),
    ...(backing_formats.length === 0 ? {} : { backingFormats: backing_formats }),
    ...(key === undefined ? {} : { key }),
  };
  return source.$case === 'path'
    ? fileDrives(source.value, options, imageRoots)
    : remoteDrives(source.value, options, imageRoots);
}

/**
 * Checks the field `drives` of a request.
 * @throws GuestfsError BAD_ARGUMENT, and what is wrong with an image
 */
export async function drivesOf(specs: readonly DriveSpec[], imageRoots: ImageRoots): Promise<Drive[]> {
  if (specs.length > MAX_DRIVES)
    throw badArgument('drives', `has ${specs.length} entries; at most ${MAX_DRIVES} are allowed`);
  const drives: Drive[] = [];
  // One at a time: each needs file descriptors while it is inspected, and so do other sessions.
  for (const [index, spec] of specs.entries()) {
    try {
      drives.push(...(await drivesOfSpec(spec, imageRoots)));
      if (drives.length > MAX_DRIVES)
        throw badArgument('path', `is an OVA with which there are more than ${MAX_DRIVES} drives`);
    } catch (error) {
      throw inDrive(index, spec.source, error);
    }
  }
  return drives;
}

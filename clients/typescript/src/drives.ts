/** A short notation for drives. */
import type { DriveSpec, RemoteDrive } from '../../../gen/proto/guestfs/v1/session.js';

/** Where a drive's content is. */
export type DriveSource =
  /** A disk image of the server, absolute or relative to an image root. */
  | { readonly path: string }
  /** An empty drive of this many bytes, which is discarded with the session. */
  | { readonly scratch_size: bigint }
  /** An image on another machine. */
  | { readonly remote: Partial<RemoteDrive> };

/** A drive for a new session: its source, and other fields of `DriveSpec`; it is read-only unless `writable` is set. */
export type Drive = DriveSource & Partial<Omit<DriveSpec, 'source'>>;

function sourceOf(drive: DriveSource): DriveSpec['source'] {
  if ('path' in drive) return { $case: 'path', value: drive.path };
  if ('scratch_size' in drive) return { $case: 'scratch_size', value: drive.scratch_size };
  return { $case: 'remote', value: { protocol: '', server: [], filename: '', ...drive.remote } };
}

/** The message for a drive. */
export function driveSpec(drive: Drive): DriveSpec {
  return { writable: false, ...drive, source: sourceOf(drive) };
}

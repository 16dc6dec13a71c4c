/** A short notation for drives. */
import type { DriveSpec } from '../../../gen/proto/guestfs/v1/session.js';
import { checkFields } from './argumentTypes.js';
import { clientError } from './error.js';

/** An image on another machine. */
export interface RemoteImage {
  /** nbd, http, https, ftp, ftps, ssh, iscsi, rbd or gluster. */
  readonly protocol: string;
  /** `host`, `host:port`, `tcp:host:port` or `unix:/path`. Exactly one; rbd takes any number. */
  readonly server?: readonly string[] | undefined;
  /** What to attach, depending on the protocol: an export name, a path, a target or an image. */
  readonly filename?: string | undefined;
  readonly username?: string | undefined;
  /** Password or key. */
  readonly secret?: string | undefined;
}

/** Where a drive's content is. */
export type DriveSource =
  /** A disk image of the server, absolute or relative to an image root. */
  | { readonly path: string }
  /** An empty drive of this many bytes, which is discarded with the session. */
  | { readonly scratchSize: bigint }
  /** An image on another machine. */
  | { readonly remote: RemoteImage };

/** What a drive has beside its source. */
export interface DriveOptions {
  /** Writes reach the image. Otherwise they go to an overlay that is discarded with the session. Default: false. */
  readonly writable?: boolean | undefined;
  /** raw, qcow2 or another of qemu's formats. Default: what the image looks like. */
  readonly format?: string | undefined;
  /** Makes the drive appear as /dev/disk/guestfs/LABEL: up to 20 ASCII letters. */
  readonly label?: string | undefined;
  /** writeback (the default) or unsafe. */
  readonly cachemode?: string | undefined;
  /** disable (the default), enable or besteffort. */
  readonly discard?: string | undefined;
  /** Sector size in bytes: 512 or 4096. */
  readonly blocksize?: number | undefined;
  /** Formats of the backing files, from the top, for those images that do not state the format of theirs. */
  readonly backingFormats?: readonly string[] | undefined;
  /** Passphrase of an image that is itself encrypted: qcow2 with LUKS. */
  readonly key?: string | undefined;
}

/** A drive for a new session: its source and its options. */
export type Drive = DriveSource & DriveOptions;

const SOURCES = ['path', 'scratchSize', 'remote'] as const;
const FIELDS = {
  path: 'string',
  scratchSize: 'int64',
  remote: 'object',
  writable: 'bool',
  format: 'string',
  label: 'string',
  cachemode: 'string',
  discard: 'string',
  blocksize: 'int',
  backingFormats: 'string_list',
  key: 'string',
} as const;
const REMOTE = {
  protocol: 'string',
  server: 'string_list',
  filename: 'string',
  username: 'string',
  secret: 'string',
} as const;

/** The sources that a drive has: one of them, unless the compiler did not check it. */
type Sources = { readonly path?: string; readonly scratchSize?: bigint; readonly remote?: RemoteImage };

function sourceOf(rpc: string, { path, scratchSize, remote }: Sources): DriveSpec['source'] {
  if (path !== undefined) return { $case: 'path', value: path };
  if (scratchSize !== undefined) return { $case: 'scratch_size', value: scratchSize };
  if (remote === undefined) return undefined;
  checkFields(rpc, 'an option of a remote image', remote, REMOTE);
  const { protocol = '', server = [], filename = '', username, secret } = remote;
  return { $case: 'remote', value: { protocol, server: [...server], filename, username, secret } };
}

/**
 * The message for a drive.
 * @throws GuestfsRpcError BAD_ARGUMENT
 */
export function driveSpec(rpc: string, drive: Drive): DriveSpec {
  checkFields(rpc, 'an option of a drive', drive, FIELDS);
  const given: Sources = drive;
  const sources = SOURCES.filter((name) => given[name] !== undefined);
  if (sources.length !== 1)
    throw clientError(rpc, 'BAD_ARGUMENT', `a drive has one of ${SOURCES.join(', ')}, not ${sources.length} of them`);
  const { writable = false, format, label, cachemode, discard, blocksize, backingFormats = [], key } = drive;
  const options = { writable, format, label, cachemode, discard, blocksize, key };
  return { source: sourceOf(rpc, given), ...options, backing_formats: [...backingFormats] };
}

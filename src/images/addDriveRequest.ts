/**
 * Turns the arguments of `add_drive` and related actions into drives, with libguestfs's
 * checks in libguestfs's order.
 */
import { badArgument } from '../common/errors.js';
import { nameUnderRoots, naming, openImage, requireWritable, type ImageRoots } from '../security/pathPolicy.js';
import type { CacheMode, Discard, Drive } from './drive.js';
import { IMAGE_FORMATS, isImageFormat } from './formats.js';
import { ovaDiskNames } from './ovaDisks.js';
import { unusableImage } from './recognise.js';
import { isWebProtocol, remoteProtocol, remoteSourceFromRequest, type RemoteProtocol } from './remoteSource.js';

/** The optional arguments of `add_drive`, as given in the request. */
export interface AddDriveOptions {
  readonly readonly?: boolean;
  readonly format?: string;
  /** Formerly the kind of bus; ignored, as in libguestfs. */
  readonly iface?: string;
  /** Formerly a hint for the device's name; ignored, as in libguestfs. */
  readonly name?: string;
  readonly label?: string;
  readonly protocol?: string;
  readonly server?: readonly string[];
  readonly username?: string;
  readonly secret?: string;
  readonly cachemode?: string;
  readonly discard?: string;
  readonly copyonread?: boolean;
  readonly blocksize?: number;
}

/** What only a drive of CreateSession or Inspect can have. */
export interface DriveSpecOptions extends AddDriveOptions {
  readonly backingFormats?: readonly string[];
  readonly key?: string;
}

/** The optional arguments of `add_drive_scratch`. */
export type AddDriveScratchOptions = Pick<AddDriveOptions, 'name' | 'label' | 'blocksize'>;

/** Size of the drive that replaces `/dev/null`, since qemu rejects drives without sectors. */
const NULL_DRIVE_SIZE = 4096n;

/**
 * Checks the arguments of `add_drive`: one drive, or those of all disks in an OVA. An image file must exist and be readable now; it is opened and
 * checked again at launch. A drive that is to be written must be where the client may write. A remote server is first contacted at launch.
 *
 * @param subject names the image in messages, if the client has not said where it is
 * @throws GuestfsError `BAD_ARGUMENT`, those of {@link openImage}, and IMAGE_UNUSABLE for an OVA that cannot be used
 */
export async function drivesFromRequest(
  filename: string,
  options: DriveSpecOptions,
  roots: ImageRoots,
  subject = naming(filename).subject,
): Promise<readonly Drive[]> {
  const drive = {
    format: options.format,
    readonly: options.readonly ?? false,
    label: options.label,
    cacheMode: undefined as CacheMode | undefined,
    discard: checkDiscard(options.discard ?? 'disable'),
    copyOnRead: options.copyonread ?? false,
    blockSize: undefined as number | undefined,
    backingFormats: options.backingFormats,
    key: options.key,
  };
  if (drive.readonly && drive.discard === 'enable')
    throw badArgument('discard', 'support cannot be enabled on read-only drives');
  if (drive.format !== undefined && !/^[-_A-Za-z0-9]+$/.test(drive.format)) {
    throw badArgument('format', 'is empty or contains characters other than letters, digits, - and _');
  }
  checkLabel(drive.label);
  drive.cacheMode = checkCacheMode(options.cachemode);
  drive.blockSize = checkBlockSize(options.blocksize);
  const { protocol: protocolName = 'file' } = options;
  checkOfImage(options, protocolName === 'file' && filename !== '/dev/null');
  if (protocolName !== 'file') {
    const protocol = remoteProtocol(protocolName);
    const remote = await remoteSourceFromRequest(protocol, filename, options, roots);
    checkReadOnly(protocol, drive.readonly);
    // The format of untrusted remote content is never guessed.
    return [{ ...drive, format: drive.format ?? 'raw', source: { kind: 'remote', remote, roots } }];
  }
  checkFile(options);
  if (filename === '/dev/null') {
    if (drive.format !== undefined && drive.format !== 'raw')
      throw badArgument('format', "must be 'raw' for /dev/null");
    const source = { kind: 'scratch', size: NULL_DRIVE_SIZE } as const;
    return [{ ...drive, source, format: 'raw', readonly: false, discard: 'disable', copyOnRead: false }];
  }
  const image = await openImage(filename, roots, 'read-only', { subject });
  let disks: readonly string[] | undefined;
  try {
    disks = await ovaDiskNames(image, drive.format, subject);
  } finally {
    await image.handle.close();
  }
  if (disks !== undefined) checkOfOva(drive, disks.length, subject);
  if (!drive.readonly) await requireWritable(image.path, roots, { subject });
  // Who has not said where it is sees no more than what it could say.
  const name = subject === naming(filename).subject ? filename : await nameUnderRoots(image.path, roots);
  const source = { kind: 'file', path: image.path, name, roots } as const;
  return disks?.map((disk) => ({ ...drive, source: { ...source, disk } })) ?? [{ ...drive, source }];
}

/**
 * Checks the arguments of `add_drive_scratch`.
 *
 * @throws GuestfsError `BAD_ARGUMENT`
 */
export function scratchDriveFromRequest(size: bigint, options: AddDriveScratchOptions): Drive {
  if (size <= 0n) throw badArgument('size', `${size} is not a size: it must be greater than 0`);
  checkLabel(options.label);
  return {
    source: { kind: 'scratch', size },
    format: 'raw',
    readonly: false,
    label: options.label,
    cacheMode: 'unsafe',
    discard: 'disable',
    copyOnRead: false,
    blockSize: checkBlockSize(options.blocksize),
  };
}

function checkDiscard(discard: string): Discard {
  if (discard === 'disable' || discard === 'enable' || discard === 'besteffort') return discard;
  throw badArgument('discard', "must be 'disable', 'enable' or 'besteffort'");
}

function checkCacheMode(cacheMode: string | undefined): CacheMode | undefined {
  if (cacheMode === undefined || cacheMode === 'writeback' || cacheMode === 'unsafe') return cacheMode;
  throw badArgument('cachemode', "must be 'writeback' (the default) or 'unsafe'");
}

function checkLabel(label: string | undefined): void {
  if (label !== undefined && !/^[A-Za-z]{1,20}$/.test(label)) {
    throw badArgument('label', 'is empty, longer than 20 characters, or contains characters other than letters');
  }
}

/** The same as the limit on images of a chain. */
const MAX_BACKING_FORMATS = 32;
/** Longer than any passphrase; qemu's monitor takes it in one line. */
const MAX_KEY = 8192;

/** @param isImage whether the drive is a disk image of the server */
function checkOfImage({ backingFormats = [], key }: DriveSpecOptions, isImage: boolean): void {
  if (!isImage && backingFormats.length > 0)
    throw badArgument('backing_formats', 'can be given for disk images of the server only');
  if (!isImage && key !== undefined) throw badArgument('key', 'can be given for disk images of the server only');
  if (backingFormats.length > MAX_BACKING_FORMATS)
    throw badArgument(
      'backing_formats',
      `has ${backingFormats.length} entries; at most ${MAX_BACKING_FORMATS} are allowed`,
    );
  if (!backingFormats.every(isImageFormat))
    throw badArgument('backing_formats', `has an entry that is none of ${IMAGE_FORMATS.join(', ')}`);
  if (key !== undefined && (key === '' || key.includes('\0') || Buffer.byteLength(key) > MAX_KEY))
    throw badArgument('key', `must be 1 to ${MAX_KEY} bytes, without NUL characters`);
}

/** @param disks how many it has */
function checkOfOva(
  { readonly, backingFormats = [], key, label }: Omit<Drive, 'source'>,
  disks: number,
  subject: string,
): void {
  if (!readonly) throw unusableImage(subject, 'is an OVA, whose disks can only be read: attach it read-only');
  if (backingFormats.length > 0)
    throw badArgument('backing_formats', 'cannot be given for an OVA, whose disks have no backing files');
  if (key !== undefined) throw badArgument('key', 'cannot be given for an OVA');
  if (label !== undefined && disks > 1) throw badArgument('label', `cannot be given for an OVA with ${disks} disks`);
}

/** 0 means "not set", as in the library. */
function checkBlockSize(blockSize: number | undefined): number | undefined {
  if (blockSize === undefined || blockSize === 0) return undefined;
  if (blockSize === 512 || blockSize === 4096) return blockSize;
  throw badArgument('blocksize', 'must be 512 or 4096');
}

function checkFile({ server, username, secret }: AddDriveOptions): void {
  if (server !== undefined && server.length > 0)
    throw badArgument('server', 'cannot be given for drives that are files');
  if (username !== undefined) throw badArgument('username', 'cannot be given for drives that are files');
  if (secret !== undefined) throw badArgument('secret', 'cannot be given for drives that are files');
}

/** libguestfs detects this only at launch. */
function checkReadOnly(protocol: RemoteProtocol, readonly: boolean): void {
  if (!readonly && isWebProtocol(protocol)) throw badArgument('readonly', `drives over '${protocol}' can be read only`);
}

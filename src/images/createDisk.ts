/** Creates empty disk images: the action `disk_create`. */
import { unlink } from 'node:fs/promises';
import { dirname, isAbsolute, relative } from 'node:path';
import { badArgument, GuestfsError } from '../common/errors.js';
import { printableName } from '../common/guestText.js';
import {
  createImageFile,
  naming,
  resolveImagePath,
  systemErrorCode,
  type CreatedImage,
  type ImageRoots,
} from '../security/pathPolicy.js';
import { isLockMessage } from './blockErrors.js';
import { NO_QUOTA, type DiskQuota } from './diskQuota.js';
import { discardAll } from './discard.js';
import { diskTools } from './diskTools.js';
import type { ForeignImageProbe } from './foreignProbe.js';
import { openImageChain } from './imageChain.js';
import { makeImage, type NewImage } from './imageMaker.js';
import { ImageClaims } from './imageUses.js';
import { rawMarks } from './rawMarks.js';
import { unusableImage } from './recognise.js';

/** What to create, as given in the request. */
export interface DiskToCreate {
  readonly filename: string;
  /** `raw` or `qcow2`. */
  readonly format: string;
  /** Bytes; -1 with a backing file, whose size it then gets. */
  readonly size: bigint;
  /** Relative to the directory of the new image, or else to an image root. */
  readonly backingfile?: string;
  readonly backingformat?: string;
  /** `off`, `sparse` or `full`; for qcow2 also `metadata`. */
  readonly preallocation?: string;
  /** Version of qcow2: `0.10` or `1.1`. */
  readonly compat?: string;
  readonly clustersize?: number;
  /** Whether an existing file or device may be overwritten. */
  readonly overwrite?: boolean;
}

/** The directories in which disks may be created. */
export interface CreateDiskContext {
  readonly imageRoots: ImageRoots;
  /** Measures backing files whose format only qemu understands. */
  readonly probe?: ForeignImageProbe;
  /** What may be made; any amount when left out. */
  readonly disk?: DiskQuota;
  /** The qemu that makes them; by default that of the host's architecture, found on the PATH. */
  readonly qemuBinary?: string | undefined;
  readonly signal: AbortSignal;
}

const SECTOR = 512n;

/**
 * Creates an empty disk image. An existing file is overwritten only if the request allows it; the library always
 * overwrites it. On a block device, a `raw` disk is created by discarding its content, if the device supports that.
 *
 * @throws GuestfsError `BAD_ARGUMENT`, `EEXIST`, those of the path policy, or an errno of the file system
 */
export async function createDisk(disk: DiskToCreate, context: CreateDiskContext): Promise<void> {
  if (disk.backingfile !== undefined) {
    if (disk.size !== -1n) throw badArgument('size', 'must be -1 when there is a backing file');
  } else if (disk.size <= 0n) {
    throw badArgument('size', `${disk.size} is not a size: it must be greater than 0`);
  }
  switch (disk.format) {
    case 'raw':
      return createRaw(disk, context);
    case 'qcow2':
      return createQcow2(disk, context);
    default:
      throw badArgument('format', `'${printableName(disk.format)}' cannot be created, only 'raw' and 'qcow2' can`);
  }
}

async function createRaw(disk: DiskToCreate, context: CreateDiskContext): Promise<void> {
  for (const option of ['backingfile', 'backingformat', 'compat', 'clustersize'] as const) {
    if (disk[option] !== undefined) throw badArgument(option, 'cannot be used with raw format');
  }
  const preallocation = choose(disk.preallocation ?? 'off', { off: 'off', sparse: 'off', full: 'falloc' });
  await create(disk, context, async (image, reserve) => {
    const { handle, kind } = image;
    if (kind === 'block') return diskTools.run(() => discardAll(handle, context.signal), context.signal);
    await reserve(disk.size);
    // Nobody else can have a new file open, and a size is all that it needs.
    if (image.created && preallocation === 'off') return handle.truncate(sizeOfFile(disk.size));
    await make({ file: { size: sizeForQemu(disk.size), preallocation } }, image, disk, context);
    // qemu pads the last sector.
    if (disk.size % SECTOR !== 0n) await handle.truncate(Number(disk.size));
  });
}

async function createQcow2(disk: DiskToCreate, context: CreateDiskContext): Promise<void> {
  if (disk.backingformat !== undefined && disk.backingfile === undefined)
    throw badArgument('backingformat', 'cannot be used without a backing file');
  if (disk.backingformat !== undefined && !/^[A-Za-z0-9]{1,16}$/.test(disk.backingformat)) {
    throw badArgument(
      'backingformat',
      'is empty, longer than 16 characters, or contains characters other than letters and digits',
    );
  }
  const preallocation = choose(disk.preallocation ?? 'off', {
    off: undefined,
    sparse: undefined,
    metadata: 'metadata',
    full: 'falloc',
  });
  if (disk.compat !== undefined && disk.compat !== '0.10' && disk.compat !== '1.1') {
    throw badArgument('compat', `'${printableName(disk.compat)}' is not a version of qcow2: '0.10' or '1.1'`);
  }
  const { clustersize } = disk;
  if (
    clustersize !== undefined &&
    (clustersize < 512 || clustersize > 2097152 || (clustersize & (clustersize - 1)) !== 0)
  ) {
    throw badArgument('clustersize', `${clustersize} is not a power of 2 from 512 to 2097152`);
  }
  const options = {
    ...(preallocation === undefined ? {} : { preallocation }),
    ...(disk.compat === undefined ? {} : { version: disk.compat === '0.10' ? 'v2' : 'v3' }),
    ...(clustersize === undefined ? {} : { 'cluster-size': clustersize }),
  };
  await create(disk, context, async (image, reserve) => {
    const backing =
      disk.backingfile === undefined ? undefined : await findBacking(disk.backingfile, disk, image.path, context);
    const size = backing?.size ?? disk.size;
    await reserve(size);
    // qemu does not open the backing file, which was opened and measured here, under the policy.
    const above = backing === undefined ? {} : { 'backing-file': backing.name, 'backing-fmt': backing.format };
    const qcow2 = { size: sizeForQemu(size), ...options, ...above };
    await make({ file: { size: 0 }, qcow2 }, image, disk, context);
  });
}

interface Backing {
  /** For the header of the new image. */
  readonly name: string;
  readonly format: string;
  readonly size: bigint;
}

async function findBacking(
  file: string,
  disk: DiskToCreate,
  image: string,
  context: CreateDiskContext,
): Promise<Backing> {
  const { imageRoots, probe, signal } = context;
  const subject = `backing file '${printableName(file)}' of ${naming(disk.filename).subject}`;
  // To qemu, a colon before the first slash ends the name of a protocol.
  if (/^[^/]*:/.test(file))
    throw unusableImage(subject, 'is not a plain file name: backing images over a network are refused');
  const beside = isAbsolute(file)
    ? undefined
    : await resolveImagePath(`${dirname(image)}/${file}`, imageRoots, { subject }).catch(notMissing);
  const path = beside ?? (await resolveImagePath(file, imageRoots, { subject }));
  // Who reads the header sees nothing of where the image roots are, unless they have nothing in common.
  const name = beside !== undefined || isAbsolute(file) ? file : relative(dirname(image), path);
  if (path === image) throw unusableImage(subject, 'is the new image itself');
  const claims = new ImageClaims();
  const chain = await openImageChain(
    path,
    disk.backingformat,
    'read-only',
    imageRoots,
    (opened, use, what) => claims.claim(path, opened, use, what),
    subject,
  ).catch(async (error: unknown) => {
    await claims.releaseAll();
    throw error;
  });
  try {
    const [{ image: opened, format, virtualSize, head }] = chain.links;
    const size = virtualSize ?? (head && (await probe?.({ ...opened, head }, format, subject, signal)));
    if (size === undefined) throw unusableImage(subject, `is in format '${format}', which this server cannot measure`);
    // The data of a flat VMDK is raw, but what is named is its descriptor. A format that was stated has been checked.
    return { name, format: disk.backingformat ?? format, size };
  } finally {
    await chain.close();
    await claims.releaseAll();
  }
}

function notMissing(error: unknown): undefined {
  if (error instanceof GuestfsError && error.reason === 'IMAGE_MISSING') return undefined;
  throw error;
}

/** Opens the file, fills it, and removes it if that fails and the file is new. */
async function create(
  disk: DiskToCreate,
  context: CreateDiskContext,
  fill: (image: CreatedImage, reserve: (bytes: bigint) => Promise<void>) => Promise<void>,
): Promise<void> {
  context.signal.throwIfAborted();
  const image = await createImageFile(disk.filename, context.imageRoots, disk.overwrite ?? false);
  const claims = new ImageClaims();
  /** Keeps what the disk can grow to. */
  const reserve = async (bytes: bigint): Promise<void> => {
    const needs = image.kind === 'block' ? [] : [{ bytes, file: image.identity }];
    const reserved = await (context.disk ?? NO_QUOTA).reserve(needs, context.signal);
    for (const one of reserved) claims.keep(image.path, () => one.release());
  };
  try {
    claims.claim(image.path, image, 'create', naming(disk.filename).subject);
    await fill(image, reserve);
    // Nothing is left of what was in it; a device that discards nothing keeps all.
    if (!image.created && image.kind === 'file') await rawMarks.clear(image);
  } catch (error) {
    if (image.created) await unlink(image.path).catch(() => undefined);
    throw systemError(error, disk);
  } finally {
    await claims.releaseAll();
    await image.handle.close();
  }
}

/** Makes the image through the open file; does not overwrite one that is in use. */
async function make(
  image: Omit<NewImage, 'fd' | 'kind'>,
  { handle, kind }: CreatedImage,
  disk: DiskToCreate,
  { qemuBinary, signal }: CreateDiskContext,
): Promise<void> {
  const failure = await diskTools.run(() => makeImage({ ...image, fd: handle.fd, kind }, qemuBinary, signal), signal);
  if (failure === undefined) return;
  if (/No space left on device/.test(failure)) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
  if (/File too large|image size is too large/.test(failure))
    throw Object.assign(new Error('file too large'), { code: 'EFBIG' });
  const { subject } = naming(disk.filename);
  if (isLockMessage(failure)) throw new GuestfsError('IMAGE_LOCKED', `${subject} is in use and cannot be overwritten`);
  const why = failure.replaceAll("'/dev/fdset/1'", 'it').replaceAll('/dev/fdset/1', 'it').slice(0, 300);
  throw unusableImage(subject, `cannot be created: ${why}`);
}

/**
 * A size in bytes, as a number that is exact.
 * @throws Error with the code of a file that is too large; no file system has such files
 */
function sizeOfFile(size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw Object.assign(new Error('too large'), { code: 'EFBIG' });
  return Number(size);
}

/** As {@link sizeOfFile}, in whole sectors. */
function sizeForQemu(size: bigint): number {
  return sizeOfFile(((size + SECTOR - 1n) / SECTOR) * SECTOR);
}

function systemError(error: unknown, disk: DiskToCreate): unknown {
  const code = error instanceof GuestfsError ? undefined : systemErrorCode(error);
  if (code === undefined) return error;
  const why = {
    ENOSPC: 'no space left',
    EDQUOT: 'disk quota exceeded',
    EFBIG: 'the size exceeds the limit of the file system or the format',
  }[code];
  return why === undefined
    ? error
    : new GuestfsError(code, `${naming(disk.filename).subject} cannot be created: ${why}`, { cause: error });
}

function choose<T>(value: string, choices: Readonly<Record<string, T>>): T {
  if (!Object.hasOwn(choices, value)) {
    throw badArgument(
      'preallocation',
      `'${printableName(value)}' is unknown: it can be ${Object.keys(choices).join(', ')}`,
    );
  }
  return choices[value] as T;
}

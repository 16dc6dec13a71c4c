/** What an image file is: the actions `disk_format`, `disk_virtual_size` and `disk_has_backing_file`. */
import { naming, openImage, type ImageRoots, type OpenImage } from '../security/pathPolicy.js';
import { BadImageHeader } from './badImageHeader.js';
import { extentsSize } from './foreignHeader.js';
import type { ForeignImageProbe } from './foreignProbe.js';
import { looksLike, recogniseImage, unusableImage, type Recognised } from './recognise.js';
import { readFully } from './readFully.js';

/** Where images are looked for. */
export interface DiskQueryContext {
  readonly imageRoots: ImageRoots;
  /** Opens images whose format only qemu understands. */
  readonly probe: ForeignImageProbe;
  readonly signal: AbortSignal;
}

/**
 * The format of an image, as far as its contents tell: a raw image can be made
 * to look like any other.
 *
 * @throws GuestfsError those of the path policy; `IMAGE_UNUSABLE` for a damaged image
 */
export async function diskFormat(path: string, context: DiskQueryContext): Promise<string> {
  return query(path, context, async (image, known) => {
    if (known.format === 'raw') return looksLike(image);
    await virtualSize(path, image, known, context);
    return known.format;
  });
}

/**
 * The size in bytes of the disk that an image stands for.
 *
 * @throws GuestfsError those of the path policy; `IMAGE_UNUSABLE` for a damaged image
 */
export async function diskVirtualSize(path: string, context: DiskQueryContext): Promise<bigint> {
  return query(path, context, async (image, known) => {
    if (known.format === 'raw' && (await looksLike(image)) === 'luks') return luksPayloadSize(image);
    return virtualSize(path, image, known, context);
  });
}

/**
 * Whether an image says that another one lies under it; that one need not exist.
 *
 * @throws GuestfsError those of the path policy; `IMAGE_UNUSABLE` for a damaged image
 */
export async function diskHasBackingFile(path: string, context: DiskQueryContext): Promise<boolean> {
  return query(
    path,
    context,
    async (_image, known) => known.qcow2?.backing !== undefined || known.foreign === 'backing file',
  );
}

async function query<T>(
  path: string,
  { imageRoots }: DiskQueryContext,
  ask: (image: OpenImage, known: Recognised) => Promise<T>,
): Promise<T> {
  const image = await openImage(path, imageRoots, 'read-only');
  try {
    return await ask(image, await recogniseImage(image, undefined, naming(path).subject));
  } finally {
    await image.handle.close();
  }
}

async function virtualSize(
  path: string,
  image: OpenImage,
  known: Recognised,
  { probe, signal }: DiskQueryContext,
): Promise<bigint> {
  if (known.virtualSize !== undefined) return known.virtualSize;
  const { subject } = naming(path);
  // What is in other files is not opened here, but its size stands in this one.
  if (known.foreign === 'extents') {
    return extentsSize(image.handle).catch((error: unknown) => {
      throw error instanceof BadImageHeader ? unusableImage(subject, error.message) : error;
    });
  }
  return probe(image, known.format, subject, signal);
}

/** A LUKS container is its header and, after it, the disk. */
async function luksPayloadSize(image: OpenImage): Promise<bigint> {
  const field = await readFully(image.handle, 104, 4);
  const payload = BigInt(field.length === 4 ? field.readUInt32BE() : 0) * 512n;
  return payload > image.size ? 0n : image.size - payload;
}

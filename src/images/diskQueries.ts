/** Queries about an image file: the actions `disk_format`, `disk_virtual_size` and `disk_has_backing_file`. */
import { naming, openImage, type ImageRoots, type OpenImage } from '../security/pathPolicy.js';
import { BadImageHeader } from './badImageHeader.js';
import { extentsSize } from './foreignHeader.js';
import type { ForeignImageProbe } from './foreignProbe.js';
import { copyHead } from './imageHead.js';
import { rawMarks } from './rawMarks.js';
import { looksLike, recogniseImage, unusableImage, writtenAsRaw, type Recognised } from './recognise.js';
import { beginningWith, readFully, type ByteSource } from './readFully.js';

/** The directories in which images are searched for. */
export interface DiskQueryContext {
  readonly imageRoots: ImageRoots;
  /** Opens images whose format only qemu understands. */
  readonly probe: ForeignImageProbe;
  readonly signal: AbortSignal;
}

/**
 * The format of an image, judged by its content: a raw image can be made to
 * look like any other.
 *
 * @throws GuestfsError those of the path policy; `IMAGE_UNUSABLE` for a damaged image
 */
export async function diskFormat(path: string, context: DiskQueryContext): Promise<string> {
  return query(path, context, async (image, known) => {
    if (known.format === 'raw') return looksLike({ handle: image.bytes, size: image.size });
    await virtualSize(path, image, known, context);
    return known.format;
  });
}

/**
 * The virtual size of an image in bytes.
 *
 * @throws GuestfsError those of the path policy; `IMAGE_UNUSABLE` for a damaged image
 */
export async function diskVirtualSize(path: string, context: DiskQueryContext): Promise<bigint> {
  return query(path, context, async (image, known) => {
    if (known.format === 'raw' && (await looksLike({ handle: image.bytes, size: image.size })) === 'luks')
      return luksPayloadSize(image);
    return virtualSize(path, image, known, context);
  });
}

/**
 * Whether the header of an image names a backing file; the file need not exist.
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

/** An image whose first bytes are read only from a copy. */
interface CoveredImage extends OpenImage {
  readonly head: Buffer;
  /** The copy, and the rest of the image. */
  readonly bytes: ByteSource;
}

async function query<T>(
  path: string,
  { imageRoots }: DiskQueryContext,
  ask: (image: CoveredImage, known: Recognised) => Promise<T>,
): Promise<T> {
  const opened = await openImage(path, imageRoots, 'read-only');
  try {
    const { subject } = naming(path);
    const head = await copyHead(opened, subject);
    const image = { ...opened, head, bytes: beginningWith(head, opened.handle) };
    const known = await recogniseImage({ handle: image.bytes, size: image.size }, undefined, subject);
    if (known.format !== 'raw' && (await rawMarks.isMarked(opened))) throw writtenAsRaw(subject, known.format);
    return await ask(image, known);
  } finally {
    await opened.handle.close();
  }
}

async function virtualSize(
  path: string,
  image: CoveredImage,
  known: Recognised,
  { probe, signal }: DiskQueryContext,
): Promise<bigint> {
  if (known.virtualSize !== undefined) return known.virtualSize;
  const { subject } = naming(path);
  // Other files are not opened here; their size is recorded in this one.
  if (known.foreign === 'extents') {
    return extentsSize(image.bytes).catch((error: unknown) => {
      throw error instanceof BadImageHeader ? unusableImage(subject, error.message) : error;
    });
  }
  return probe(image, known.format, subject, signal);
}

/** A LUKS container consists of its header, followed by the disk. */
async function luksPayloadSize(image: CoveredImage): Promise<bigint> {
  const field = await readFully(image.bytes, 104, 4);
  const payload = BigInt(field.length === 4 ? field.readUInt32BE() : 0) * 512n;
  return payload > image.size ? 0n : image.size - payload;
}

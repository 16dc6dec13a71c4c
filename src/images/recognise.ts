/**
 * Finds out what an open file is: its format, and what it says about other files.
 *
 * The recognising is done here, on the open file, and not by `qemu-img info`:
 * that one takes a path, opens the data file that a header names while it
 * looks, and would run with the server's rights. Nothing depends on both
 * agreeing, since qemu is told the format that was found here.
 */
import { GuestfsError } from '../common/errors.js';
import { printable, type OpenImage } from '../security/pathPolicy.js';
import { BadImageHeader } from './badImageHeader.js';
import { foreignReference, type ForeignReference } from './foreignHeader.js';
import { IMAGE_FORMATS, isImageFormat, SNIFF_LENGTH, sniffFormat, type ImageFormat, type SniffedFormat } from './formats.js';
import { readQcow2Header, type Qcow2Header } from './qcow2Header.js';
import { readFully } from './readFully.js';

/** What an open file turned out to be. */
export interface Recognised {
  readonly format: ImageFormat;
  /** Bytes that a guest sees, a multiple of 512; undefined: only qemu can tell. */
  readonly virtualSize: bigint | undefined;
  /** Of qcow2 images. */
  readonly qcow2: Qcow2Header | undefined;
  /** Of the others, when they are not complete in this file. */
  readonly foreign: ForeignReference | undefined;
}

/** The format that a file looks like. */
export async function looksLike(image: OpenImage): Promise<SniffedFormat> {
  return sniffFormat(await readFully(image.handle, 0, SNIFF_LENGTH));
}

/**
 * @param stated format of the image as its user states it; undefined: by its looks
 * @throws GuestfsError `IMAGE_UNUSABLE` when it is not in the stated format, or damaged
 */
export async function recogniseImage(image: OpenImage, stated: string | undefined, subject: string): Promise<Recognised> {
  const format = await chooseFormat(image, stated, subject);
  try {
    if (format === 'qcow2') {
      const qcow2 = await readQcow2Header(image.handle);
      return { format, virtualSize: wholeSectors(qcow2.virtualSize), qcow2, foreign: undefined };
    }
    const virtualSize = format === 'raw' ? wholeSectors(image.size) : undefined;
    return { format, virtualSize, qcow2: undefined, foreign: await foreignReference(image.handle, format) };
  } catch (error) {
    if (error instanceof BadImageHeader) throw unusableImage(subject, error.message);
    throw error;
  }
}

async function chooseFormat(image: OpenImage, stated: string | undefined, subject: string): Promise<ImageFormat> {
  if (stated === 'raw') return 'raw';
  if (stated === 'luks') {
    throw unusableImage(subject, "cannot be attached in format 'luks': attach it as 'raw' and open it inside with cryptsetup_open");
  }
  if (stated !== undefined && !isImageFormat(stated)) {
    throw unusableImage(subject, `cannot be attached in format '${printable(stated)}': known formats are ${IMAGE_FORMATS.join(', ')}`);
  }
  const seen = await looksLike(image);
  if (stated === undefined) return seen === 'luks' ? 'raw' : seen;
  // These two have their mark at the end of the file, if at all: only qemu can tell.
  const marked = stated !== 'dmg' && stated !== 'vpc';
  if (seen === stated || (seen === 'raw' && !marked)) return stated;
  throw unusableImage(subject, `is not in format '${stated}': it looks like ${seen === 'raw' ? 'a raw image, or a damaged one' : `format '${seen}'`}`);
}

/** qemu sees sectors: a last one that is not full is filled up. */
function wholeSectors(size: bigint): bigint {
  return ((size + 511n) / 512n) * 512n;
}

/** An image that cannot become a drive; `why` completes the sentence that `subject` starts. */
export function unusableImage(subject: string, why: string): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} ${why}`);
}

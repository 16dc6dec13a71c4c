/**
 * Finds out what an open file is: its format, and what it says about other files.
 *
 * The recognising is done here, on the open file, and not by `qemu-img info`:
 * that one takes a path, opens the data file that a header names while it
 * looks, and would run with the server's rights. Nothing depends on both
 * agreeing, since qemu is told the format that was found here.
 */
import { GuestfsError } from '../common/errors.js';
import { printableName } from '../common/guestText.js';
import { BadImageHeader } from './badImageHeader.js';
import { foreignReference, type ForeignReference } from './foreignHeader.js';
import {
  IMAGE_FORMATS,
  isImageFormat,
  SNIFF_LENGTH,
  sniffFormat,
  type ImageFormat,
  type SniffedFormat,
} from './formats.js';
import { readQcow2Header, type Qcow2Header } from './qcow2Header.js';
import { readFully, type ByteSource } from './readFully.js';

/** An image that can be read: an open file, or the copied start of one that is elsewhere. */
export interface ReadableImage {
  readonly handle: ByteSource;
  /** Bytes of the whole image. */
  readonly size: bigint;
}

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
export async function looksLike(image: ReadableImage): Promise<SniffedFormat> {
  return sniffFormat(await readFully(image.handle, 0, SNIFF_LENGTH));
}

/**
 * @param stated format of the image as its user states it; undefined: by its looks
 * @throws GuestfsError `IMAGE_UNUSABLE` when it is not in the stated format, or damaged
 */
export async function recogniseImage(
  image: ReadableImage,
  stated: string | undefined,
  subject: string,
): Promise<Recognised> {
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

/**
 * The format that an image is to be taken for: the stated one, if it can be that, or else what it looks like.
 * @throws GuestfsError IMAGE_UNUSABLE when it is not in the stated format
 */
export async function chooseFormat(
  image: ReadableImage,
  stated: string | undefined,
  subject: string,
): Promise<ImageFormat> {
  const format = stated === undefined ? undefined : statedFormat(stated, subject);
  if (format === 'raw') return 'raw';
  const seen = await looksLike(image);
  if (format === undefined) return seen === 'luks' ? 'raw' : seen;
  // These two have their mark at the end of the file, if at all: only qemu can tell.
  const marked = format !== 'dmg' && format !== 'vpc';
  if (seen === format || (seen === 'raw' && !marked)) return format;
  throw unusableImage(
    subject,
    `is not in format '${format}': it looks like ${seen === 'raw' ? 'a raw image, or a damaged one' : `format '${seen}'`}`,
  );
}

/**
 * The format that a user states.
 * @throws GuestfsError `IMAGE_UNUSABLE` when no drive can have it
 */
export function statedFormat(name: string, subject: string): ImageFormat {
  if (isImageFormat(name)) return name;
  if (name === 'luks')
    throw unusableImage(
      subject,
      "cannot be attached in format 'luks': attach it as 'raw' and open it inside with cryptsetup_open",
    );
  throw unusableImage(
    subject,
    `cannot be attached in format '${printableName(name)}': known formats are ${IMAGE_FORMATS.join(', ')}`,
  );
}

/** qemu sees sectors: a last one that is not full is filled up. */
function wholeSectors(size: bigint): bigint {
  return ((size + 511n) / 512n) * 512n;
}

/** The error for an image whose looks a guest can have made. */
export function writtenAsRaw(subject: string, format: ImageFormat): GuestfsError {
  return unusableImage(
    subject,
    `looks like format '${format}', but was written as a raw drive, so that a guest can have made it look so: state its format`,
  );
}

/** An image that cannot become a drive; `why` completes the sentence that `subject` starts. */
export function unusableImage(subject: string, why: string): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} ${why}`);
}

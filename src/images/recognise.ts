/**
 * Recognises an open image: its format, and its references to other files.
 *
 * This is done here, on the open file, and not with `qemu-img info`, which
 * takes a path, opens the data file that a header names, and would run with the
 * server's rights. The two need not agree, since qemu is always given the
 * format that was found here.
 */
import { GuestfsError } from '../common/errors.js';
import { printableName } from '../common/guestText.js';
import { BadImageHeader } from './badImageHeader.js';
import { containerIn } from './containers.js';
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

/** An image that can be read: an open file, or the copied start of a remote one. */
export interface ReadableImage {
  readonly handle: ByteSource;
  /** Size of the image in bytes. */
  readonly size: bigint;
}

/** What was recognised. */
export interface Recognised {
  readonly format: ImageFormat;
  /** Virtual size in bytes, a multiple of 512; undefined: only qemu can determine it. */
  readonly virtualSize: bigint | undefined;
  /** For qcow2 images. */
  readonly qcow2: Qcow2Header | undefined;
  /** For the others, if they are not complete in this file. */
  readonly foreign: ForeignReference | undefined;
}

/** The format that a file appears to have. */
export async function looksLike(image: ReadableImage): Promise<SniffedFormat> {
  return sniffFormat(await readFully(image.handle, 0, SNIFF_LENGTH));
}

/**
 * @param stated format stated by the user; undefined: it is recognised
 * @throws GuestfsError `IMAGE_UNUSABLE` if it is not in the stated format, or damaged
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
 * The format of an image: the stated one, if the image can be in it; if none is stated, the one it appears to have.
 * @throws GuestfsError IMAGE_UNUSABLE if it is not in the stated format
 */
export async function chooseFormat(
  image: ReadableImage,
  stated: string | undefined,
  subject: string,
): Promise<ImageFormat> {
  const format = stated === undefined ? undefined : statedFormat(stated, subject);
  if (format === 'raw') return 'raw';
  const seen = await looksLike(image);
  if (format === undefined) {
    const container = seen === 'raw' ? await containerIn(image.handle, image.size) : undefined;
    if (container !== undefined) throw unusableImage(subject, container);
    return seen === 'luks' ? 'raw' : seen;
  }
  // These two have their signature at the end of the file, if at all: only qemu can recognise them.
  const marked = format !== 'dmg' && format !== 'vpc';
  if (seen === format || (seen === 'raw' && !marked)) return format;
  throw unusableImage(
    subject,
    `is not in format '${format}': it looks like ${seen === 'raw' ? 'a raw image, or a damaged one' : `format '${seen}'`}`,
  );
}

/**
 * Checks the format stated by a user.
 * @throws GuestfsError `IMAGE_UNUSABLE` if no drive can have it
 */
export function statedFormat(name: string, subject: string): ImageFormat {
  if (isImageFormat(name)) return name;
  if (name === 'luks')
    throw unusableImage(
      subject,
      "cannot be attached in format 'luks': attach it as 'raw' and open it with cryptsetup_open",
    );
  throw unusableImage(
    subject,
    `cannot be attached in format '${printableName(name)}': known formats are ${IMAGE_FORMATS.join(', ')}`,
  );
}

/** qemu works in sectors: a partial last sector is padded. */
function wholeSectors(size: bigint): bigint {
  return ((size + 511n) / 512n) * 512n;
}

/** The error for an image whose looks a guest can have made. */
export function writtenAsRaw(subject: string, format: ImageFormat | 'ova'): GuestfsError {
  return unusableImage(
    subject,
    `looks like format '${format}', but was written as a raw drive, so that a guest can have made it look so: state its format`,
  );
}

/** An image that cannot become a drive; `why` completes the sentence that `subject` starts. */
export function unusableImage(subject: string, why: string): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} ${why}`);
}

/**
 * An image on a server on the network, raw or in another format.
 *
 * The header of a qcow2 image can name other files, and a server can return a different header after every check.
 * So its first bytes are copied, once, and checked; the machine gets the copy, layered over the server's image,
 * and reads no header from the server. In the formats that are attached unchanged, a header can name no file but a
 * backing file, and qemu is always given an explicit "none" for that.
 */
import { printableName } from '../common/guestText.js';
import type { Drive } from './drive.js';
import { HEAD_UNIT } from './emptyQcow2.js';
import type { ImageFormat } from './formats.js';
import { headLength } from './imageHead.js';
import { bytesInMemory } from './readFully.js';
import { recogniseImage, statedFormat, unusableImage, type Recognised } from './recognise.js';
import type { AskRemote } from './remoteProbe.js';
import { createImageHead, type TemporaryDisk } from './temporaryDisk.js';

/** An image that was inspected. */
export interface RemoteImage {
  readonly format: ImageFormat;
  /** Virtual size in bytes, a multiple of 512. */
  readonly virtualSize: bigint;
  /** A read-only qcow2 image with the checked copy, to layer over the server's image; undefined if none is needed. */
  readonly head: TemporaryDisk | undefined;
}

/** Formats whose header can name files that qemu opens regardless of its options. */
const LEADING_FORMATS: ReadonlySet<ImageFormat> = new Set(['vmdk']);

/**
 * Checks the format stated for a network drive.
 * @throws GuestfsError `IMAGE_UNUSABLE` with what to do instead
 */
export function remoteFormat(
  { format: stated = 'raw', readonly }: Pick<Drive, 'format' | 'readonly'>,
  subject: string,
): ImageFormat {
  const format = statedFormat(stated, subject);
  const decoded = `have an NBD server decode it (${decoder(format)})`;
  if (LEADING_FORMATS.has(format)) {
    throw unusableImage(
      subject,
      `cannot be attached in format '${format}': its header can name files of this host, and its server can change it at any time; ${decoded}`,
    );
  }
  if (format !== 'raw' && !readonly) {
    throw unusableImage(
      subject,
      `cannot be written in format '${format}': over a network, images in a format can be attached read-only; attach it so, or ${decoded}`,
    );
  }
  return format;
}

/** Where the copy is created, and how messages refer to the image. */
export interface RemoteImageNames {
  /** Private directory of the machine. */
  readonly directory: string;
  /** Name of the copy in it. */
  readonly file: string;
  /** How messages refer to the drive. */
  readonly subject: string;
}

/**
 * Inspects the image of a drive.
 * @throws GuestfsError `IMAGE_UNUSABLE`, and those of `ask`
 */
export async function openRemoteImage(
  ask: AskRemote,
  format: ImageFormat,
  { directory, file, subject }: RemoteImageNames,
): Promise<RemoteImage> {
  if (format === 'raw') return { format, virtualSize: notEmpty((await ask({})).size, subject), head: undefined };
  const { size, head } = await copyHead(ask, subject);
  const known = await recogniseImage({ handle: bytesInMemory(head), size }, format, subject);
  refuseReferences(known, format, subject);
  // Only for qcow2 is the size known without qemu.
  const virtualSize = notEmpty(known.virtualSize ?? (await ask({ format })).size, subject);
  return {
    format,
    virtualSize,
    head: format === 'qcow2' ? await createImageHead(directory, file, size, head) : undefined,
  };
}

function notEmpty(size: bigint, subject: string): bigint {
  if (size === 0n) throw unusableImage(subject, 'is empty: a drive needs at least one sector');
  return size;
}

/** Copies the first bytes; for a qcow2 image, at least those that its header can occupy. */
async function copyHead(ask: AskRemote, subject: string): Promise<{ readonly size: bigint; readonly head: Buffer }> {
  let wanted = HEAD_UNIT;
  // Once more if the image is shorter than that, or its header may be longer.
  for (let turn = 0; turn < 2; turn++) {
    const { size, head } = await ask({ headLength: wanted });
    notEmpty(size, subject);
    if (head === undefined) {
      if (size >= BigInt(wanted)) throw unusableImage(subject, 'cannot be read');
      wanted = Number(size);
      continue;
    }
    const needed = headLength(head, subject);
    if (needed <= head.length) return { size, head };
    if (size < BigInt(needed)) throw unusableImage(subject, 'ends inside its header');
    wanted = needed;
  }
  throw unusableImage(subject, 'changes while it is read');
}

function refuseReferences({ qcow2, foreign }: Recognised, format: ImageFormat, subject: string): void {
  if (qcow2 !== undefined && qcow2.encryption !== 'none')
    throw unusableImage(subject, 'is encrypted in the qcow2 format, which is not supported');
  const found =
    qcow2?.backing !== undefined
      ? `has a backing file, '${printableName(qcow2.backing.file)}'`
      : qcow2?.dataFile !== undefined
        ? 'keeps its data in another file'
        : foreign !== undefined
          ? 'has a backing file'
          : undefined;
  if (found === undefined) return;
  throw unusableImage(
    subject,
    `${found}, and a remote image must be complete in one file: make it so with 'qemu-img convert -O qcow2', or let an NBD server decode it where its files are (${decoder(format)})`,
  );
}

function decoder(format: ImageFormat): string {
  return `"qemu-nbd --persistent --format=${format}"`;
}

/**
 * Opens an image with everything it refers to.
 *
 * A drive is a chain: the image, its backing image, and so on; each may keep its
 * data in a separate file, or, if it is a VMDK, in several. Every element is found under the image roots, opened
 * here, and later passed to qemu open and by name: qemu itself follows no
 * reference in a header.
 *
 * A raw image whose guest wrote a qcow2 header into its first sector looks like an
 * overlay on whatever that header names. So references are followed only where the
 * format is stated: for the image itself by the client, for a backing file by
 * the overlay. Only for an image that is complete in one file may the format be
 * guessed.
 */
import { dirname, isAbsolute } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { printableName } from '../common/guestText.js';
import { descriptors } from '../common/descriptors.js';
import { naming, openImage, type ImageAccess, type ImageRoots, type OpenImage } from '../security/pathPolicy.js';
import { BadImageHeader } from './badImageHeader.js';
import { flatExtent } from './foreignHeader.js';
import { READ_ONLY_FORMATS, type ImageFormat } from './formats.js';
import { copyHead } from './imageHead.js';
import type { ImageUse } from './imageUses.js';
import { beginningWith } from './readFully.js';
import { rawMarks } from './rawMarks.js';
import { MAX_EXTENTS, requireSameParent, vmdkParts, type VmdkPart, type VmdkParts } from './vmdkParts.js';
import { chooseFormat, recogniseImage, unusableImage, writtenAsRaw, type Recognised } from './recognise.js';

/** Longest chain that is followed. */
export const MAX_CHAIN_LENGTH = 32;

/** One image of a chain, open. */
export interface ChainLink {
  readonly image: OpenImage;
  readonly format: ImageFormat;
  /** Virtual size in bytes, a multiple of 512; undefined: only qemu can determine it. */
  readonly virtualSize: bigint | undefined;
  /** The first bytes, which were checked; undefined for a raw image, which has no header. */
  readonly head: Buffer | undefined;
  /** The file with the data of a qcow2 image, if that is not the image itself. */
  readonly dataFile: OpenImage | undefined;
  /** Of a VMDK in several files: `image` is one of them, with this part of the disk, and the next link has the next part. */
  readonly part: VmdkPart | undefined;
  /** It contains snapshots of the disk, too. */
  readonly snapshots: boolean;
  /** Only the key that the client has given opens it. */
  readonly encrypted: boolean;
  /** The image is only this part of the file. */
  readonly window?: ImageWindow;
  /** How messages refer to it. */
  readonly subject: string;
}

/** An image and its backing chain, top first. */
export interface ImageChain {
  readonly links: readonly [ChainLink, ...ChainLink[]];
  /** Closes all files. */
  close(): Promise<void>;
}

/** Part of a file, in whole sectors. */
export interface ImageWindow {
  readonly offset: number;
  readonly size: number;
}

/** What a client says of an image that the image does not say itself. */
export interface StatedOfImage {
  /** Formats of the backing files whose overlay does not state it, from the top. */
  readonly backingFormats?: readonly string[] | undefined;
  /** There is a key for its encryption. */
  readonly hasKey?: boolean;
}

/** Claims a file for a use; throws IMAGE_LOCKED if that conflicts with another use. */
export type ClaimImage = (image: OpenImage, use: ImageUse, subject: string) => void;

/**
 * Opens the image at `path` and all it refers to; only the first image and its
 * data file are opened for writing, if at all.
 *
 * @param format as stated by the client, or undefined to recognise it
 * @param claim called for each file before its content is used
 * @param top how messages refer to the image
 * @param marks is given each file that is to be written as raw
 * @param stated what else the client says of it
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING`, `IMAGE_UNUSABLE`, `IMAGE_LOCKED`, or `NOT_ALLOWED` for an
 *   image that refers to other files on a server that does not allow it
 */
export async function openImageChain(
  path: string,
  format: string | undefined,
  access: ImageAccess,
  roots: ImageRoots,
  claim: ClaimImage,
  top = naming(path).subject,
  marks = rawMarks,
  { backingFormats = [], hasKey = false }: StatedOfImage = {},
): Promise<ImageChain> {
  const statedFormats = [...backingFormats];
  const links: ChainLink[] = [];
  const opened: OpenImage[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.splice(0).map((image) => image.handle.close()));
  };
  const openTracked = async (at: string, how: ImageAccess, subject: string): Promise<OpenImage> => {
    const image = await openImage(at, roots, how, { subject });
    opened.push(image);
    return image;
  };
  try {
    let next: Reference | undefined = { path, format, subject: top };
    const paths = new Set<string>();
    while (next !== undefined) {
      const current: Reference = next;
      const { subject } = current;
      if (links.filter(isFirstPart).length === MAX_CHAIN_LENGTH)
        throw unusableImage(top, `is a chain of more than ${MAX_CHAIN_LENGTH} images`);
      const how = links.length === 0 ? access : 'read-only';
      const image = await openTracked(current.path, how, subject);
      if (paths.has(image.path)) throw unusableImage(subject, 'leads back to an image of the same chain');
      paths.add(image.path);
      const inFormat = await chooseFormat(image, current.format, subject);
      claim(image, useOf(inFormat, how), subject);
      if (inFormat === 'raw' && how === 'read-write') await marks.mark(image);
      if (inFormat !== 'raw' && current.format === undefined && (await marks.isMarked(image)))
        throw writtenAsRaw(subject, inFormat);
      // Copied once nobody can write to it as raw; a format that it did not have before is not accepted.
      const head = inFormat === 'raw' ? undefined : await copyHead(image, subject);
      const checked = head === undefined ? image.handle : beginningWith(head, image.handle);
      const known = await recogniseImage({ handle: checked, size: image.size }, inFormat, subject);
      if (current.cid !== undefined) await asHeader(subject, requireSameParent(current.cid, checked, image.size));
      const flat: string | undefined = known.foreign === 'extents' ? await flatExtent(checked) : undefined;
      if (flat !== undefined) {
        requireStated(flat, current.format !== undefined, known.format, subject);
        if (roots.backingFiles !== true)
          throw notSelfContained(`keeps its data in another file, '${printableName(flat)}'`, subject);
        const name: string = `extent '${printableName(flat)}' of ${subject}`;
        next = { path: referredPath(flat, image, name), format: 'raw', subject: name };
        continue;
      }
      if (known.format === 'vmdk' && known.foreign !== undefined) {
        const found: VmdkParts = await asHeader(subject, vmdkParts(checked, image.size));
        const named = found.parts.find(({ file }) => file !== undefined)?.file ?? found.parent?.file ?? '';
        requireStated(named, current.format !== undefined, known.format, subject);
        if (roots.backingFiles !== true)
          throw notSelfContained(`refers to another file, '${printableName(named)}'`, subject);
        if (how !== 'read-only')
          throw unusableImage(
            subject,
            "is a VMDK in several files, or a snapshot of one, which can only be attached read-only: attach it so, or convert it first with 'qemu-img convert'",
          );
        await openParts(found, { image, subject }, links, openTracked, claim);
        next = found.parent && parentOf(found.parent, image, subject, top);
        continue;
      }
      checkUsable(known, current.format !== undefined, how, subject);
      checkEncryption(known, links.length === 0 ? hasKey : undefined, subject);
      if (roots.backingFiles !== true) refuseReference(known, subject);
      const data: Reference | undefined =
        known.qcow2?.dataFile && dataFileOf(known.qcow2.dataFile.file, image, subject);
      const dataFile = data && (await openTracked(data.path, how, data.subject));
      if (dataFile !== undefined) {
        claim(dataFile, useOf('raw', how), (data as Reference).subject);
        if (how === 'read-write') await marks.mark(dataFile);
      }
      links.push({
        ...{ image, dataFile, subject },
        ...{ format: known.format, virtualSize: known.virtualSize },
        head,
        part: undefined,
        snapshots: known.qcow2?.snapshots ?? false,
        encrypted: known.qcow2?.encryption === 'luks',
      });
      next = known.qcow2?.backing && backingOf(known.qcow2.backing, image, subject, top, statedFormats);
    }
    if (hasKey && links[0]?.encrypted !== true)
      throw unusableImage(
        top,
        'is not encrypted in the qcow2 format, which the key of a drive is for: devices on a drive are opened in the appliance',
      );
    if (statedFormats.length > 0)
      throw unusableImage(
        top,
        `has fewer backing files of which it does not state the format than formats were given: ${statedFormats.length} too many`,
      );
    return { links: links as [ChainLink, ...ChainLink[]], close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs the reading of a header of an image. */
async function asHeader<Value>(subject: string, reading: Promise<Value>): Promise<Value> {
  try {
    return await reading;
  } catch (error) {
    throw error instanceof BadImageHeader ? unusableImage(subject, error.message) : error;
  }
}

/** Each of the files of a VMDK is found, checked and claimed as the image itself. */
async function openParts(
  { parts }: VmdkParts,
  { image, subject }: Pick<ChainLink, 'image' | 'subject'>,
  links: ChainLink[],
  openTracked: (at: string, how: ImageAccess, subject: string) => Promise<OpenImage>,
  claim: ClaimImage,
): Promise<void> {
  if (links.length + parts.length > MAX_EXTENTS)
    throw unusableImage(subject, `has, with the images beneath, more than ${MAX_EXTENTS} extents`);
  await descriptors.while(parts.length * DESCRIPTORS_PER_PART, async () => {
    for (const part of parts) {
      const { file, kind, diskSize } = part;
      const name = file === undefined ? subject : `extent '${printableName(file)}' of ${subject}`;
      const opened = file === undefined ? image : await openTracked(referredPath(file, image, name), 'read-only', name);
      claim(opened, kind === 'flat' ? 'raw read' : 'format read', name);
      links.push({
        ...{ image: opened, format: 'vmdk', virtualSize: BigInt(diskSize), part, subject: name },
        ...{ head: undefined, dataFile: undefined, snapshots: false, encrypted: false },
      });
    }
  });
}

/** The file, its cover, and the one by which it is watched. */
const DESCRIPTORS_PER_PART = 3;

function isFirstPart({ part }: ChainLink): boolean {
  return part === undefined || part.at === 0;
}

function parentOf(parent: { file: string; cid: string }, child: OpenImage, subject: string, top: string): Reference {
  const name = `parent '${printableName(parent.file)}' of ${subject === top ? '' : 'a parent of '}${top}`;
  return { path: referredPath(parent.file, child, name), format: 'vmdk', subject: name, cid: parent.cid };
}

function useOf(format: ImageFormat, access: ImageAccess): ImageUse {
  return `${format === 'raw' ? 'raw' : 'format'} ${access === 'read-only' ? 'read' : 'write'}`;
}

/** A file to open. */
interface Reference {
  readonly path: string;
  readonly format: string | undefined;
  readonly subject: string;
  /** The content ID of a VMDK. */
  readonly cid?: string;
}

function checkUsable(known: Recognised, stated: boolean, how: ImageAccess, subject: string): void {
  const { format, qcow2, foreign } = known;
  if (foreign !== undefined) {
    throw unusableImage(
      subject,
      `has a backing file, which is supported for qcow2 and vmdk only: convert it first with 'qemu-img convert -O qcow2'`,
    );
  }
  const reference = qcow2?.backing?.file ?? (qcow2?.dataFile === undefined ? undefined : (qcow2.dataFile.file ?? ''));
  if (reference !== undefined) requireStated(reference, stated, format, subject);
  if (how === 'read-only') return;
  if (READ_ONLY_FORMATS.has(format))
    throw unusableImage(subject, `is in format '${format}', which can only be attached read-only`);
  if (qcow2?.corrupt === true) {
    throw unusableImage(
      subject,
      "is marked as corrupt and cannot be written: repair it with 'qemu-img check -r all', or attach it read-only",
    );
  }
}

/** @param hasKey whether a key was given for it; undefined: none can be, as for a backing file */
function checkEncryption({ qcow2 }: Recognised, hasKey: boolean | undefined, subject: string): void {
  if (qcow2 === undefined || qcow2.encryption === 'none') return;
  if (qcow2.encryption === 'other')
    throw unusableImage(
      subject,
      'is encrypted in the qcow2 format by another method than LUKS, which is not supported',
    );
  if (hasKey === undefined)
    throw unusableImage(subject, 'is encrypted in the qcow2 format, which a backing file must not be');
  if (!hasKey)
    throw unusableImage(subject, 'is encrypted in the qcow2 format with LUKS: the drive needs its passphrase as key');
}

/** A guest can make its own raw image look like one that refers to any file. */
function requireStated(reference: string, stated: boolean, format: ImageFormat, subject: string): void {
  if (stated) return;
  throw unusableImage(
    subject,
    `refers to another file, '${printableName(reference)}', and its format was not stated: a guest can write such a reference into a raw image; if it really is one, attach it with format '${format}'`,
  );
}

/** An image's creator decides what it refers to, and could name any image that its user has access to. */
function refuseReference({ qcow2 }: Recognised, subject: string): void {
  const what =
    qcow2?.backing !== undefined
      ? `has a backing file, '${printableName(qcow2.backing.file)}'`
      : qcow2?.dataFile !== undefined
        ? `keeps its data in another file, '${printableName(qcow2.dataFile.file ?? '')}'`
        : undefined;
  if (what !== undefined) throw notSelfContained(what, subject);
}

function notSelfContained(what: string, subject: string): GuestfsError {
  return new GuestfsError(
    'NOT_ALLOWED',
    `${subject} ${what}, and this server attaches only images that are complete in one file: make it so with 'qemu-img convert -O qcow2', or ask the operator to allow other images with --allow backing-files`,
    { metadata: { setting: '--allow backing-files' } },
  );
}

function backingOf(
  backing: { file: string; format: string | undefined },
  overlay: OpenImage,
  subject: string,
  top: string,
  statedFormats: string[],
): Reference {
  const file = printableName(backing.file);
  const format = backing.format === undefined || backing.format === '' ? statedFormats.shift() : backing.format;
  if (format === undefined) {
    throw unusableImage(
      subject,
      `does not state the format of its backing file '${file}', and guessing it is not safe: state it in backing_formats of the drive, or with 'qemu-img rebase -u -F FORMAT -b BACKING-FILE'`,
    );
  }
  const name = `backing file '${file}' of ${subject === top ? '' : 'a backing file of '}${top}`;
  return { path: referredPath(backing.file, overlay, name), format, subject: name };
}

function dataFileOf(file: string | undefined, overlay: OpenImage, subject: string): Reference {
  if (file === undefined || file === '')
    throw unusableImage(subject, 'keeps its data in another file but does not name it');
  const name = `data file '${printableName(file)}' of ${subject}`;
  return { path: referredPath(file, overlay, name), format: undefined, subject: name };
}

/**
 * The path for a name in a header: relative to the directory in which the image
 * really is, as in libguestfs, which resolves links before it passes a name to qemu.
 */
function referredPath(file: string, image: OpenImage, subject: string): string {
  const path = file.startsWith('file:/') ? file.slice('file:'.length) : file;
  // To qemu, a colon before the first slash ends the name of a protocol.
  if (/^[^/]*:/.test(path))
    throw unusableImage(
      subject,
      'is not a plain file name: references to network and other special sources are refused',
    );
  return isAbsolute(path) ? path : `${dirname(image.path)}/${path}`;
}

/**
 * The disks in an OVA, which is a tar archive of a virtual machine.
 *
 * Its descriptor is not read: a file in it is a disk if it begins like an image, or has the name of a raw one. Each disk
 * is attached where it is in the archive, and only for reading. It must be complete in one file, so nothing that the
 * archive says can lead anywhere else.
 */
import { printableName } from '../common/guestText.js';
import { naming, openImage, type ImageRoots, type OpenImage } from '../security/pathPolicy.js';
import { BadImageHeader } from './badImageHeader.js';
import { containerIn, isOva } from './containers.js';
import { sniffFormat, SNIFF_LENGTH, type ImageFormat } from './formats.js';
import type { ChainLink, ClaimImage, ImageChain, ImageWindow } from './imageChain.js';
import { copyHead } from './imageHead.js';
import { rawMarks } from './rawMarks.js';
import { beginningWith, readFully, windowOf, type ByteSource } from './readFully.js';
import { recogniseImage, unusableImage, writtenAsRaw } from './recognise.js';
import { tarMembers, type TarMember } from './tarMembers.js';

/** As a client states it. */
export const OVA_FORMAT = 'ova';

interface OvaDisk {
  readonly name: string;
  readonly format: ImageFormat;
  readonly window: ImageWindow;
}

const SECTOR = 512;

/**
 * The names of the disks in an OVA, in its order; undefined if the file is none, and was not stated to be one.
 * @throws GuestfsError IMAGE_UNUSABLE
 */
export async function ovaDiskNames(
  { handle, size }: Pick<OpenImage, 'handle' | 'size'>,
  format: string | undefined,
  subject: string,
): Promise<readonly string[] | undefined> {
  if (format !== undefined && format !== OVA_FORMAT) return undefined;
  if (await isOva(handle)) return (await disksIn(handle, size, subject)).map(({ name }) => name);
  if (format === undefined) return undefined;
  throw unusableImage(subject, `is not in format '${OVA_FORMAT}': it is no tar archive that begins with an .ovf file`);
}

/**
 * Opens a disk of an OVA for reading.
 * @param disk as {@link ovaDiskNames} has it
 * @throws GuestfsError as openImageChain does
 */
export async function openOvaDisk(
  { path, disk, stated, roots }: OvaDiskPlace,
  claim: ClaimImage,
  archive = naming(path).subject,
  marks = rawMarks,
): Promise<ImageChain> {
  const image = await openImage(path, roots, 'read-only', { subject: archive });
  try {
    const subject = `disk '${printableName(disk)}' of ${archive}`;
    claim(image, 'format read', archive);
    if (!stated && (await marks.isMarked(image))) throw writtenAsRaw(archive, OVA_FORMAT);
    const found = (await disksIn(image.handle, image.size, archive)).find(({ name }) => name === disk);
    if (found === undefined) throw unusableImage(subject, 'is not there any more');
    return { links: [await linkOf(image, found, subject)], close: () => image.handle.close() };
  } catch (error) {
    await image.handle.close();
    throw error;
  }
}

/** Where a disk is. */
export interface OvaDiskPlace {
  /** Of the archive. */
  readonly path: string;
  /** Its name in the archive. */
  readonly disk: string;
  /** Whether the client has stated that the file is an OVA. */
  readonly stated: boolean;
  readonly roots: ImageRoots;
}

async function linkOf(image: ChainLink['image'], { format, window }: OvaDisk, subject: string): Promise<ChainLink> {
  const bytes = windowOf(image.handle, window.offset, window.size);
  const head = format === 'raw' ? undefined : await copyHead({ handle: bytes }, subject);
  const known = await recogniseImage(
    { handle: head === undefined ? bytes : beginningWith(head, bytes), size: BigInt(window.size) },
    format,
    subject,
  );
  const { qcow2, foreign, virtualSize } = known;
  if (foreign !== undefined || qcow2?.backing !== undefined || qcow2?.dataFile !== undefined)
    throw unusableImage(subject, 'refers to other files, which the disks of an OVA must not');
  if (qcow2 !== undefined && qcow2.encryption !== 'none')
    throw unusableImage(subject, 'is encrypted in the qcow2 format: extract it first');
  return {
    ...{ image, format: known.format, virtualSize, head, subject, window },
    ...{ dataFile: undefined, part: undefined, snapshots: false, encrypted: false },
  };
}

/** What of an archive is a disk. */
async function disksIn(archive: ByteSource, size: bigint, subject: string): Promise<readonly OvaDisk[]> {
  const disks: OvaDisk[] = [];
  for (const member of await membersOf(archive, size, subject)) {
    const format = await formatOf(archive, member, subject);
    if (format === undefined) continue;
    // The archive is padded to whole sectors.
    const window = { offset: member.at, size: Math.ceil(member.size / SECTOR) * SECTOR };
    disks.push({ name: member.name, format, window });
  }
  if (disks.length === 0)
    throw unusableImage(subject, 'is an OVA without a disk image that is recognised: extract the images from it first');
  return disks;
}

async function membersOf(archive: ByteSource, size: bigint, subject: string): Promise<readonly TarMember[]> {
  try {
    return await tarMembers(archive, size);
  } catch (error) {
    throw error instanceof BadImageHeader ? unusableImage(subject, error.message) : error;
  }
}

async function formatOf(
  archive: ByteSource,
  { name, at, size }: TarMember,
  subject: string,
): Promise<ImageFormat | undefined> {
  const content = windowOf(archive, at, size);
  const seen = sniffFormat(await readFully(content, 0, SNIFF_LENGTH));
  if (seen !== 'raw' && seen !== 'luks') return seen;
  const container = await containerIn(content, BigInt(size));
  if (container !== undefined)
    throw unusableImage(
      `file '${printableName(name)}' of ${subject}`,
      `${container.split(';')[0]}: extract the OVA first`,
    );
  return size > 0 && /\.(?:img|raw)$/i.test(name) ? 'raw' : undefined;
}

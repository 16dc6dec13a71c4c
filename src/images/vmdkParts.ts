/** The files that a VMDK consists of, if it is not complete in one, and what the server needs to know to read them. */
import { BadImageHeader } from './badImageHeader.js';
import type { MappedSource, MappingBudget } from './mappedFile.js';
import { readFully, type ByteSource } from './readFully.js';
import { readVmdkDescriptor, type VmdkDescriptor, type VmdkExtent } from './vmdkDescriptor.js';
import { readSparseHeader, sparseRuns } from './vmdkSparse.js';

/**
 * Extents of all drives of a machine. Each is an image in qemu's backing chain, and the names that qemu makes up for
 * these become longer with each: with more, its list of nodes could be longer than a line of QMP may be.
 */
export const MAX_EXTENTS = 40;

/** A part of the disk, in a file. */
export interface VmdkPart extends Pick<VmdkExtent, 'kind' | 'size' | 'offset'> {
  /** The file; undefined: the image itself. */
  readonly file: string | undefined;
  /** Where it begins on the disk, bytes. */
  readonly at: number;
  /** Of the disk, bytes. */
  readonly diskSize: number;
}

export interface VmdkParts {
  readonly parts: readonly VmdkPart[];
  /** The image beneath. */
  readonly parent: { readonly file: string; readonly cid: string } | undefined;
}

/**
 * The parts of a VMDK with a parent, or with its data in other files.
 * @param size of the image, bytes
 * @throws BadImageHeader
 */
export async function vmdkParts(image: ByteSource, size: bigint): Promise<VmdkParts> {
  const descriptor = await readVmdkDescriptor(image, size);
  if (descriptor === undefined) throw new BadImageHeader('has no VMDK descriptor');
  const isSparse = (await readFully(image, 0, 4)).toString('latin1') === 'KDMV';
  const extents = isSparse ? [await itself(image, size)] : descriptor.extents;
  if (extents.length === 0) throw new BadImageHeader('has a VMDK descriptor that names no extents');
  if (extents.length > MAX_EXTENTS)
    throw new BadImageHeader(`has more than ${MAX_EXTENTS} extents: convert it with qemu-img convert`);
  const diskSize = extents.reduce((sum, extent) => sum + extent.size, 0);
  let at = 0;
  const parts = extents.map((extent) => {
    const part = { ...extent, at, diskSize };
    at += extent.size;
    return part;
  });
  return { parts, parent: parentOf(descriptor) };
}

async function itself(image: ByteSource, size: bigint): Promise<Omit<VmdkPart, 'at' | 'diskSize'>> {
  return { kind: 'sparse', file: undefined, size: (await readSparseHeader(image, size)).size, offset: 0 };
}

function parentOf({ parent }: VmdkDescriptor): VmdkParts['parent'] {
  if (parent === undefined) return undefined;
  const { file, cid } = parent;
  if (file === undefined || file === '') throw new BadImageHeader('has a parent that it does not name');
  if (cid === undefined) throw new BadImageHeader('does not state which state of its parent it belongs to');
  return { file, cid };
}

/**
 * Makes sure that the parent has not changed since the snapshot was made.
 * @param cid that the snapshot states
 * @throws BadImageHeader
 */
export async function requireSameParent(cid: string, parent: ByteSource, size: bigint): Promise<void> {
  const found = (await readVmdkDescriptor(parent, size))?.cid;
  if (found !== cid)
    throw new BadImageHeader(
      `has content ID ${found ?? '(none)'}, but the snapshot was made of ${cid}: it was changed since, or is another image`,
    );
}

/**
 * Where the data of a part is in its file.
 * @param fileSize bytes
 * @throws BadImageHeader
 */
export async function mappedPart(
  part: VmdkPart,
  file: ByteSource,
  fileSize: bigint,
  budget: MappingBudget,
): Promise<MappedSource> {
  const { kind, at, size, offset, diskSize } = part;
  const source = { file, fileSize, diskSize };
  if (kind === 'flat') {
    if (BigInt(offset + size) > fileSize)
      throw new BadImageHeader(`is truncated: ${fileSize} of ${offset + size} bytes are there`);
    const run = { disk: at, file: offset, length: size };
    return {
      ...source,
      async *runs() {
        yield [run];
      },
    };
  }
  const header = await readSparseHeader(file, fileSize);
  if (header.size < size)
    throw new BadImageHeader(`is a sparse extent of ${header.size} bytes, where ${size} bytes are expected`);
  return { ...source, runs: () => sparseRuns(file, fileSize, { ...header, size }, at, budget) };
}

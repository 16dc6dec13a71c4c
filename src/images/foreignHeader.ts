/**
 * Determines whether an image in a format other than qcow2 is complete in one
 * file.
 *
 * Only qcow2 states the format of its backing file, and the parent of a VMDK is a VMDK. In the other formats it would have
 * to be guessed; such images are refused.
 */
import { BadImageHeader } from './badImageHeader.js';
import type { ImageFormat } from './formats.js';
import { readFully, type ByteSource } from './readFully.js';
import { embeddedDescriptorAt } from './vmdkDescriptor.js';

/** What an image needs in addition to its own file. */
export type ForeignReference =
  /** A backing file. */
  | 'backing file'
  /** Its own data. */
  | 'extents';

/** @throws BadImageHeader if the header is damaged or its data encrypted */
export async function foreignReference(file: ByteSource, format: ImageFormat): Promise<ForeignReference | undefined> {
  switch (format) {
    case 'qcow': {
      const head = await readFully(file, 0, 48);
      if (head.length < 48) throw new BadImageHeader('has a truncated qcow header');
      if (head.readUInt32BE(36) !== 0)
        throw new BadImageHeader('is encrypted in the qcow format, which is not supported');
      return head.readBigUInt64BE(8) !== 0n ? 'backing file' : undefined;
    }
    case 'qed': {
      const head = await readFully(file, 0, 64);
      if (head.length < 64) throw new BadImageHeader('has a truncated qed header');
      return (head.readBigUInt64LE(16) & 1n) !== 0n ? 'backing file' : undefined;
    }
    case 'vpc': {
      const head = await readFully(file, 0, 64);
      // Fixed images have only a footer, at the end, and no parent.
      const differencing =
        head.length === 64 && head.subarray(0, 8).toString('latin1') === 'conectix' && head.readUInt32BE(60) === 4;
      return differencing ? 'backing file' : undefined;
    }
    case 'vmdk':
      return vmdkReference(file);
    default:
      return undefined;
  }
}

const SECTOR = 512;
/** qemu reads no more of a descriptor, either. */
const MAX_DESCRIPTOR = 20 * SECTOR;

async function vmdkReference(file: ByteSource): Promise<ForeignReference | undefined> {
  const head = await readFully(file, 0, SECTOR);
  const magic = head.subarray(0, 4).toString('latin1');
  if (magic === 'COWD') return undefined;
  if (magic !== 'KDMV') return 'extents';
  if (head.length < SECTOR) throw new BadImageHeader('has a truncated VMDK header');
  const capacity = head.readBigUInt64LE(12);
  // Without a capacity, the embedded descriptor applies, including its extents.
  if (capacity === 0n) return 'extents';
  const at = embeddedDescriptorAt(head);
  if (at === 0) return undefined;
  const descriptor = (await readFully(file, at, MAX_DESCRIPTOR)).toString('latin1');
  return hasParent(descriptor) ? 'backing file' : undefined;
}

const COMPRESSED = 1 << 16;

/** True for a stream-optimised VMDK, as in an OVA: qemu opens one for writing, but every write to it fails. */
export function isStreamOptimised(head: Buffer): boolean {
  return (
    head.length >= SECTOR &&
    head.subarray(0, 4).toString('latin1') === 'KDMV' &&
    (head.readUInt32LE(8) & COMPRESSED) !== 0
  );
}

const PARENT_ID = /parentCID\s*=\s*([0-9a-f]+)/gi;
const NO_PARENT = 'ffffffff';

/** Like qemu, this searches for the words anywhere, not only at the start of a line. */
function hasParent(descriptor: string): boolean {
  if (/parentFileNameHint/i.test(descriptor)) return true;
  return [...descriptor.matchAll(PARENT_ID)].some(([, id]) => id?.toLowerCase() !== NO_PARENT);
}

/** Matches the number of sectors in the extent lines of a VMDK descriptor: `RW 4192256 FLAT "disk-f001.vmdk" 0`. */
const EXTENT = /^[ \t]*(?:RW|RDONLY|NOACCESS)[ \t]+(\d{1,15})[ \t]+(?:FLAT|SPARSE|ZERO|VMFS|VMFSSPARSE|SESPARSE)\b/gm;

/** Matches all lines about extents, and names the file of one that is flat and begins at its start. */
const ANY_EXTENT = /^[ \t]*(?:RW|RDONLY|NOACCESS)[ \t]+\d{1,15}[ \t]+[A-Z]+\b.*$/gm;
const FLAT_EXTENT = /^[ \t]*RW[ \t]+\d{1,15}[ \t]+(?:FLAT|VMFS)[ \t]+"([^"\n]+)"(?:[ \t]+0)?[ \t]*\r?$/;

/** The file with the data of a VMDK whose descriptor names only one, which is a raw image; undefined for any other. */
export async function flatExtent(file: ByteSource): Promise<string | undefined> {
  const text = (await readFully(file, 0, MAX_DESCRIPTOR)).toString('utf8');
  if (!text.startsWith('# Disk DescriptorFile') || hasParent(text)) return undefined;
  const extents = text.match(ANY_EXTENT) ?? [];
  return extents.length === 1 ? FLAT_EXTENT.exec(extents[0])?.[1] : undefined;
}

/** Virtual size in bytes of a VMDK with `extents`, as its descriptor states it; the extents are not opened. */
export async function extentsSize(file: ByteSource): Promise<bigint> {
  const head = await readFully(file, 0, MAX_DESCRIPTOR);
  const at = head.subarray(0, 4).toString('latin1') === 'KDMV' ? embeddedDescriptorAt(head) : 0;
  const descriptor = at === 0 ? head : await readFully(file, at, MAX_DESCRIPTOR);
  let sectors = 0n;
  for (const [, count = '0'] of descriptor.toString('latin1').matchAll(EXTENT)) sectors += BigInt(count);
  if (sectors === 0n) throw new BadImageHeader('has a VMDK descriptor that names no extents');
  return sectors * BigInt(SECTOR);
}

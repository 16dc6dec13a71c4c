/**
 * Parses the descriptor of a VMDK: a text that names the files with the data of the disk (its extents), and the image
 * beneath a snapshot (its parent). qemu gets no such name: the server opens the files itself.
 */
import { BadImageHeader } from './badImageHeader.js';
import { readFully, type ByteSource } from './readFully.js';

/** A part of the disk. */
export interface VmdkExtent {
  /** Bytes of the disk as they are, or with tables of their own. */
  readonly kind: 'flat' | 'sparse';
  readonly file: string;
  /** Its size, bytes. */
  readonly size: number;
  /** Where it begins in a flat file, bytes. */
  readonly offset: number;
}

export interface VmdkDescriptor {
  /** Changes with the contents, in lower case; undefined if it is not stated. */
  readonly cid: string | undefined;
  readonly parent: { readonly file: string | undefined; readonly cid: string | undefined } | undefined;
  readonly extents: readonly VmdkExtent[];
}

const SECTOR = 512;
/** A descriptor of its own; one inside another file has {@link MAX_EMBEDDED}. */
const MAX_TEXT = 64 << 10;
/** qemu reads no more, either. */
const MAX_EMBEDDED = 20 * SECTOR;
/** It follows the header: none is further inside. */
const MAX_EMBEDDED_SECTOR = 0x10000n;
/** Largest disk, bytes: all positions in it are exact numbers. */
const MAX_SIZE = 2 ** 52;
const NO_PARENT = 'ffffffff';

const EXTENT = /^(?:RW|RDONLY)\s+(\d{1,15})\s+(FLAT|VMFS|SPARSE)\s+"([^"]+)"(?:\s+(\d{1,15}))?$/;
/** All lines about extents. */
const ANY_EXTENT = /^(?:RW|RDONLY|NOACCESS)\s/;
/** Each blank can be matched in one way only: the time is linear. */
const PROPERTY = /^([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^"\s][^"]*)?)$/;

/**
 * The descriptor of a VMDK that begins with `KDMV`, or is nothing but a descriptor.
 * @param size of the image, bytes
 * @returns undefined if it has none
 * @throws BadImageHeader
 */
export async function readVmdkDescriptor(file: ByteSource, size: bigint): Promise<VmdkDescriptor | undefined> {
  const head = await readFully(file, 0, SECTOR);
  if (head.subarray(0, 4).toString('latin1') !== 'KDMV') {
    if (size > BigInt(MAX_TEXT)) throw new BadImageHeader('has a VMDK descriptor that is too long');
    return parseVmdkDescriptor(await readFully(file, 0, MAX_TEXT));
  }
  const at = embeddedDescriptorAt(head);
  return at === 0 ? undefined : parseVmdkDescriptor(await readFully(file, at, MAX_EMBEDDED));
}

/**
 * Where the descriptor is in an image that begins with `KDMV`; 0 if it has none.
 * @throws BadImageHeader
 */
export function embeddedDescriptorAt(head: Buffer): number {
  if (head.length < SECTOR) throw new BadImageHeader('has a truncated VMDK header');
  const sector = head.readBigUInt64LE(28);
  if (sector > MAX_EMBEDDED_SECTOR)
    throw new BadImageHeader('has a damaged VMDK header: its descriptor lies too far inside');
  return Number(sector) * SECTOR;
}

/** @throws BadImageHeader */
export function parseVmdkDescriptor(bytes: Buffer): VmdkDescriptor {
  const end = bytes.indexOf(0);
  const properties = new Map<string, string>();
  const extents: VmdkExtent[] = [];
  for (const row of textOf(end === -1 ? bytes : bytes.subarray(0, end)).split('\n')) {
    const line = row.trim();
    if (ANY_EXTENT.test(line)) {
      extents.push(extentIn(line));
      continue;
    }
    const [, name = '', quoted, plain = ''] = PROPERTY.exec(line) ?? [];
    const value = quoted ?? plain;
    const key = name.toLowerCase();
    if (!['cid', 'parentcid', 'parentfilenamehint'].includes(key)) continue;
    if (properties.has(key)) throw new BadImageHeader(`has a VMDK descriptor that states ${name} twice`);
    properties.set(key, key === 'parentfilenamehint' ? value : contentId(value));
  }
  if (extents.reduce((sum, { size }) => sum + size, 0) > MAX_SIZE)
    throw new BadImageHeader('has a VMDK descriptor of a disk that is too large');
  const cid = properties.get('parentcid');
  const file = properties.get('parentfilenamehint');
  const hasParent = file !== undefined || (cid !== undefined && cid !== NO_PARENT);
  return { cid: properties.get('cid'), parent: hasParent ? { file, cid } : undefined, extents };
}

/** In one form: qemu writes it without leading zeros, VMware with them. */
function contentId(digits: string): string {
  return digits.toLowerCase().padStart(8, '0');
}

function extentIn(line: string): VmdkExtent {
  const [, sectors, type, file, offset] = EXTENT.exec(line) ?? [];
  if (sectors === undefined || file === undefined) {
    const found = /^\S+\s+\S+\s+([A-Z]{1,20})(?:\s|$)/.exec(line)?.[1];
    throw new BadImageHeader(
      found === undefined || ['FLAT', 'VMFS', 'SPARSE'].includes(found)
        ? 'has a VMDK descriptor with a damaged line about an extent'
        : `has extents of type ${found}, which are not supported`,
    );
  }
  const kind = type === 'SPARSE' ? 'sparse' : 'flat';
  const size = Number(sectors) * SECTOR;
  const start = Number(offset ?? 0) * SECTOR;
  if (size === 0 || size > MAX_SIZE || start > MAX_SIZE)
    throw new BadImageHeader('has a VMDK descriptor with an extent of an impossible size');
  if (kind === 'sparse' && start !== 0)
    throw new BadImageHeader('has a VMDK descriptor with a damaged line about an extent');
  return { kind, file, size, offset: start };
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // In another encoding, as some versions write it, names without further letters are the same.
    return bytes.toString('latin1').replace(/[\x80-\xff]/g, '\ufffd');
  }
}

/**
 * Reads a qcow2 header's references to other files.
 *
 * qemu would follow these references itself; they are read here first, to check
 * every file against the image roots before qemu sees any.
 * Layout: qemu's `docs/interop/qcow2.txt`.
 */
import { BadImageHeader } from './badImageHeader.js';
import { readFully, type ByteSource } from './readFully.js';

/** The relevant fields of the header. */
export interface Qcow2Header {
  readonly version: number;
  readonly virtualSize: bigint;
  /** The backing image; `format` if the header states it. */
  readonly backing: { readonly file: string; readonly format: string | undefined } | undefined;
  /** The data is in another file, whose name may be missing from the header. */
  readonly dataFile: { readonly file: string | undefined; readonly raw: boolean } | undefined;
  /** LUKS, qemu's own former method, or one that is unknown. */
  readonly encryption: 'none' | 'luks' | 'other';
  /** qemu marked the image as damaged and refuses to write to it. */
  readonly corrupt: boolean;
  /** It keeps earlier states of the disk. */
  readonly snapshots: boolean;
}

const INCOMPATIBLE_CORRUPT = 1n << 1n;
const INCOMPATIBLE_DATA_FILE = 1n << 2n;
/** Dirty, corrupt, data file, compression type, extended L2 entries. */
const INCOMPATIBLE_KNOWN = 0x1fn;
const AUTOCLEAR_DATA_FILE_RAW = 1n << 1n;

/** By the number in the header. */
const ENCRYPTION = ['none', 'other', 'luks'] as const;

const EXTENSION_END = 0;
const EXTENSION_BACKING_FORMAT = 0xe2792aca;
const EXTENSION_DATA_FILE = 0x44415441;

/** Longest name that qemu accepts. */
const MAX_BACKING_NAME = 1023;

/**
 * How many bytes at the start of a qcow2 image its header occupies, including names and extensions.
 * @param head at least the first 24 bytes
 * @throws BadImageHeader
 */
export function clusterSizeOf(head: Buffer): number {
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21)
    throw new BadImageHeader(`has a damaged qcow2 header: cluster size of 2^${clusterBits} bytes`);
  return 1 << clusterBits;
}

/** @throws BadImageHeader */
export async function readQcow2Header(file: ByteSource): Promise<Qcow2Header> {
  const fixed = await readFully(file, 0, 104);
  if (fixed.length < 72) throw new BadImageHeader('is too short to be a qcow2 image');
  const version = fixed.readUInt32BE(4);
  if (version !== 2 && version !== 3)
    throw new BadImageHeader(`has qcow2 version ${version}; only versions 2 and 3 are supported`);
  if (version === 3 && fixed.length < 104) throw new BadImageHeader('has a truncated qcow2 header');
  const backingOffset = fixed.readBigUInt64BE(8);
  const backingLength = fixed.readUInt32BE(16);
  const clusterSize = clusterSizeOf(fixed);
  const incompatible = version === 3 ? fixed.readBigUInt64BE(72) : 0n;
  const autoclear = version === 3 ? fixed.readBigUInt64BE(88) : 0n;
  const headerLength = version === 3 ? fixed.readUInt32BE(100) : 72;
  if (headerLength < (version === 3 ? 104 : 72) || headerLength > clusterSize) {
    throw new BadImageHeader(`has a damaged qcow2 header: length ${headerLength}`);
  }
  if ((incompatible & ~INCOMPATIBLE_KNOWN) !== 0n)
    throw new BadImageHeader('uses qcow2 features that this server does not support');

  // All names and extensions are in the first cluster.
  const cluster = await readFully(file, 0, clusterSize);
  let backingFile: string | undefined;
  if (backingOffset !== 0n) {
    const end = backingOffset + BigInt(backingLength);
    if (backingLength > MAX_BACKING_NAME || backingOffset < BigInt(headerLength) || end > BigInt(cluster.length)) {
      throw new BadImageHeader('has a damaged qcow2 header: the name of its backing file is outside the header');
    }
    // A length of 0 means "no backing file", as it does to qemu.
    if (backingLength > 0) backingFile = decodeName(cluster.subarray(Number(backingOffset), Number(end)));
  }
  const extensions = readExtensions(
    cluster.subarray(headerLength, backingOffset !== 0n ? Number(backingOffset) : undefined),
  );
  return {
    version,
    virtualSize: fixed.readBigUInt64BE(24),
    backing: backingFile === undefined ? undefined : { file: backingFile, format: extensions.backingFormat },
    dataFile:
      (incompatible & INCOMPATIBLE_DATA_FILE) !== 0n
        ? { file: extensions.dataFile, raw: (autoclear & AUTOCLEAR_DATA_FILE_RAW) !== 0n }
        : undefined,
    encryption: ENCRYPTION[fixed.readUInt32BE(32)] ?? 'other',
    corrupt: (incompatible & INCOMPATIBLE_CORRUPT) !== 0n,
    snapshots: fixed.readUInt32BE(60) !== 0,
  };
}

function readExtensions(area: Buffer): { backingFormat: string | undefined; dataFile: string | undefined } {
  let backingFormat: string | undefined;
  let dataFile: string | undefined;
  let at = 0;
  while (at + 8 <= area.length) {
    const type = area.readUInt32BE(at);
    const length = area.readUInt32BE(at + 4);
    if (type === EXTENSION_END) break;
    if (length > area.length - at - 8) throw new BadImageHeader('has a damaged qcow2 header: an extension is too long');
    const data = area.subarray(at + 8, at + 8 + length);
    if (type === EXTENSION_BACKING_FORMAT) backingFormat = decodeName(data);
    if (type === EXTENSION_DATA_FILE) dataFile = decodeName(data);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return { backingFormat, dataFile };
}

/** qemu treats names as C strings: the first NUL ends them. */
function decodeName(bytes: Buffer): string {
  const nul = bytes.indexOf(0);
  const name = nul === -1 ? bytes : bytes.subarray(0, nul);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(name);
  } catch {
    throw new BadImageHeader('refers to a file whose name is not UTF-8');
  }
}

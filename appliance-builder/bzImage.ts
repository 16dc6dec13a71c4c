/**
 * The kernel inside a bzImage.
 *
 * A bzImage decompresses itself when it starts, which takes seconds when the
 * machine is emulated. qemu also boots the uncompressed kernel, if an ELF note
 * (of the PVH boot protocol) gives its entry point: decompressing it once here
 * saves the time at every boot.
 */
import { type BuildContext, runFilter } from './command.js';

/** ELF note type of the 32-bit PVH entry point, in notes named "Xen". */
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** Compression formats by their first bytes, with the program that decompresses each. */
const FORMATS: ReadonlyArray<readonly [magic: string, command: readonly [string, ...string[]]]> = [
  ['28b52ffd', ['zstd', '--decompress', '--stdout', '--quiet']],
  ['fd377a585a00', ['xz', '--decompress', '--stdout', '--single-stream']],
  ['1f8b', ['gzip', '--decompress', '--stdout']],
  ['02214c18', ['lz4', '--decompress', '--stdout']],
];

/** A range of bytes in a bzImage. */
export interface Payload {
  readonly offset: number;
  readonly length: number;
}

/**
 * Finds the compressed kernel in a bzImage, by the fields that the Linux boot
 * protocol defines for it; undefined if the file is something else.
 */
export function findPayload(image: Buffer): Payload | undefined {
  if (image.length < 0x250 || image.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const protocol = image.readUInt16LE(0x206);
  // payload_offset and payload_length came with version 2.08 of the protocol.
  if (protocol < 0x208) return undefined;
  const setupSectors = image.readUInt8(0x1f1) || 4;
  const offset = (setupSectors + 1) * 512 + image.readUInt32LE(0x248);
  const length = image.readUInt32LE(0x24c);
  return offset + length <= image.length ? { offset, length } : undefined;
}

/** Whether a file is a 64-bit ELF kernel with a PVH entry point. */
export function hasPvhEntry(kernel: Buffer): boolean {
  if (kernel.length < 64 || kernel.toString('latin1', 0, 4) !== '\x7fELF' || kernel.readUInt8(4) !== 2) return false;
  const tableOffset = Number(kernel.readBigUInt64LE(32));
  const entrySize = kernel.readUInt16LE(54);
  const entries = kernel.readUInt16LE(56);
  for (let entry = 0; entry < entries; entry++) {
    const at = tableOffset + entry * entrySize;
    if (at + 56 > kernel.length) return false;
    const PT_NOTE = 4;
    if (kernel.readUInt32LE(at) !== PT_NOTE) continue;
    const start = Number(kernel.readBigUInt64LE(at + 8));
    const size = Number(kernel.readBigUInt64LE(at + 32));
    if (notesHavePvh(kernel.subarray(start, start + size))) return true;
  }
  return false;
}

function notesHavePvh(notes: Buffer): boolean {
  const align = (length: number): number => (length + 3) & ~3;
  let at = 0;
  while (at + 12 <= notes.length) {
    const nameLength = notes.readUInt32LE(at);
    const valueLength = notes.readUInt32LE(at + 4);
    const type = notes.readUInt32LE(at + 8);
    const name = notes.toString('latin1', at + 12, at + 12 + Math.max(0, nameLength - 1));
    if (name === 'Xen' && type === XEN_ELFNOTE_PHYS32_ENTRY) return true;
    at += 12 + align(nameLength) + align(valueLength);
  }
  return false;
}

/**
 * The uncompressed kernel of a bzImage, if qemu can boot it; undefined if the
 * image has to be booted unchanged.
 */
export async function decompressKernel(context: BuildContext, image: Buffer): Promise<Buffer | undefined> {
  const payload = findPayload(image);
  if (payload === undefined) return undefined;
  const bytes = image.subarray(payload.offset, payload.offset + payload.length);
  const format = FORMATS.find(([magic]) => bytes.toString('hex', 0, magic.length / 2) === magic);
  if (format === undefined) return undefined;
  const [command, ...args] = format[1];
  // The last four bytes are the uncompressed size. It is part of gzip's format; for the other
  // formats the kernel's build appends it, and their programs would reject it.
  const plainSize = bytes.readUInt32LE(bytes.length - 4);
  const stream = command === 'gzip' ? bytes : bytes.subarray(0, bytes.length - 4);
  const kernel = await runFilter(context, command, args, stream);
  if (kernel.length !== plainSize) {
    throw new Error(`the kernel decompresses to ${kernel.length} bytes, but its image states ${plainSize}`);
  }
  return hasPvhEntry(kernel) ? kernel : undefined;
}

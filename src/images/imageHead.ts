/**
 * The first bytes of an image that is not raw: everything that can lead qemu to another file.
 *
 * They are copied once and checked; qemu gets the copy, layered over the image, and reads no header from the image
 * itself, which others may change at any time. Only an image that will be written has to be opened directly.
 *
 * According to qemu's sources, they contain everything relevant: the header of qcow2 with all names (one cluster), and
 * the first sector of VMDK, which decides whether extents are opened by name. The names of backing files in other
 * formats are overridden, wherever they are.
 */
import { BadImageHeader } from './badImageHeader.js';
import { HEAD_UNIT } from './emptyQcow2.js';
import { sniffFormat } from './formats.js';
import { clusterSizeOf } from './qcow2Header.js';
import { readFully, type ByteSource } from './readFully.js';
import { unusableImage } from './recognise.js';

/**
 * How many bytes the header of an image with this start can occupy; 0 if it is not qcow2.
 * @throws GuestfsError IMAGE_UNUSABLE
 */
export function headLength(head: Buffer, subject: string): number {
  if (sniffFormat(head) !== 'qcow2' || head.length < 24) return 0;
  try {
    return clusterSizeOf(head);
  } catch (error) {
    throw error instanceof BadImageHeader ? unusableImage(subject, error.message) : error;
  }
}

/**
 * Copies the first bytes of an open image, or all of a shorter one.
 * @throws GuestfsError IMAGE_UNUSABLE
 */
export async function copyHead({ handle }: { readonly handle: ByteSource }, subject: string): Promise<Buffer> {
  const head = await readFully(handle, 0, HEAD_UNIT);
  const length = headLength(head, subject);
  if (length <= head.length || head.length < HEAD_UNIT) return head;
  // The first bytes are not read again: they may have changed by now.
  const rest = await readFully(handle, head.length, length - head.length);
  return Buffer.concat([head, rest]);
}

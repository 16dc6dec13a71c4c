/** Files that contain a disk image, which people name in its place; attached as they are, they would be tiny raw disks. */
import { readFully, type ByteSource } from './readFully.js';

interface Container {
  readonly offset: number;
  readonly magic: Buffer;
  readonly name: string;
  readonly remedy: string;
}

const DECOMPRESS = 'decompress it first, and attach the disk image that it holds';
const HEAD = 512;
const TAR_OFFSET = 257;

const container = (name: string, magic: string, remedy: string, offset = 0): Container => ({
  name,
  magic: Buffer.from(magic, 'latin1'),
  remedy,
  offset,
});

const CONTAINERS: readonly Container[] = [
  container('a gzip file', '\x1f\x8b\x08', DECOMPRESS),
  container('an xz file', '\xfd7zXZ\0', DECOMPRESS),
  container('a Zstandard file', '\x28\xb5\x2f\xfd', DECOMPRESS),
  container('a bzip2 file', 'BZh', DECOMPRESS),
  container('a zip archive', 'PK\x03\x04', 'extract the disk image from it first'),
  container('a 7-Zip archive', '7z\xbc\xaf\x27\x1c', 'extract the disk image from it first'),
  container('an EWF image (E01)', 'EVF\x09\x0d\x0a\xff\0', 'convert it first, for example with ewfexport -f raw'),
  container('an EWF image (Ex01)', 'EVF2\x0d\x0a\x81\0', 'convert it first, for example with ewfexport -f raw'),
  container('a Proxmox backup (VMA)', 'VMA\0', 'extract the disk images from it first with vma extract'),
  container('a tar archive', 'ustar', 'extract the disk image from it first', TAR_OFFSET),
];

/** What a file is instead of a disk image, and what to do; undefined if it is none of these. */
export async function containerIn(file: ByteSource): Promise<string | undefined> {
  const head = await readFully(file, 0, HEAD);
  const found = CONTAINERS.find(({ magic, offset }) => head.subarray(offset, offset + magic.length).equals(magic));
  if (found === undefined) return undefined;
  const ova = startsOva(head);
  const what = ova ? 'an OVA, which is a tar archive' : found.name;
  const remedy = ova ? 'add it as a drive of its own, or extract the .vmdk files from it first' : found.remedy;
  return `is ${what}, not a disk image: ${remedy}; a drive that really begins like this needs format raw`;
}

/** Whether a file is an OVA. */
export async function isOva(file: ByteSource): Promise<boolean> {
  return startsOva(await readFully(file, 0, HEAD));
}

/** The first file in an OVA is its descriptor. */
function startsOva(head: Buffer): boolean {
  const name = head.subarray(0, Math.max(0, head.indexOf(0))).toString('latin1');
  return head.toString('latin1', TAR_OFFSET, TAR_OFFSET + 5) === 'ustar' && /\.ovf$/i.test(name);
}

/** Files that contain or describe a disk image, which people name in its place; attached as they are, they would be tiny raw disks. */
import { readFully, type ByteSource } from './readFully.js';

interface Container {
  readonly offset: number;
  readonly magic: Buffer;
  readonly name: string;
  readonly remedy: string;
}

const DECOMPRESS = 'decompress it first, and attach the disk image that it holds';
const EXTRACT = 'extract the disk image from it first';
const FILES_ONLY = 'it holds files without a disk; extract them first';
const NAME_IMAGE = 'name the disk image that it describes';
const DOWNLOAD_AGAIN = 'download the image again, since the server probably answered with an error';
/** Segments of the same image lie beside it, under names that end in .E02 and so on; ewfexport finds them itself. */
const EXPORT = 'convert it first, for example with "ewfexport -u -f raw -t disk FILE" of ewf-tools';
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
  // Begins with a frame that is to be skipped, as pzstd writes it.
  container('a Zstandard file', '\x50\x2a\x4d\x18', DECOMPRESS),
  container('a bzip2 file', 'BZh', DECOMPRESS),
  container('an LZ4 file', '\x04\x22\x4d\x18', DECOMPRESS),
  container('an LZ4 file', '\x02\x21\x4c\x18', DECOMPRESS),
  // Of unknown size, as xz and lzma write it; the format has no signature.
  container('an LZMA file', '\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff', DECOMPRESS),
  container('an lzip file', 'LZIP\x01', DECOMPRESS),
  container('an lzop file', '\x89LZO\0\r\n\x1a\n', DECOMPRESS),
  container('a file of compress (.Z)', '\x1f\x9d\x90', DECOMPRESS),
  container('an lrzip file', 'LRZI', DECOMPRESS),
  container('a zip archive', 'PK\x03\x04', EXTRACT),
  container('a zip archive of several parts', 'PK\x07\x08', EXTRACT),
  container('a 7-Zip archive', '7z\xbc\xaf\x27\x1c', EXTRACT),
  container('a RAR archive', 'Rar!\x1a\x07', EXTRACT),
  container('an EWF image (E01)', 'EVF\x09\x0d\x0a\xff\0', EXPORT),
  container('an EWF image (Ex01)', 'EVF2\x0d\x0a\x81\0', EXPORT),
  container('a logical evidence file (L01)', 'LVF\x09\x0d\x0a\xff\0', FILES_ONLY),
  container('a logical image of FTK (AD1)', 'ADSEGMENTEDFILE\0', FILES_ONLY),
  container('an encrypted image of FTK', 'ADCRYPT\0', 'decrypt it first with FTK Imager'),
  container('an AFF image', 'AFF10\r\n\0', 'convert it first, for example with "affconvert -r" of afflib-tools'),
  container('a Windows image (WIM)', 'MSWIM\0\0\0', 'apply it to a disk first, for example with wimapply of wimtools'),
  container('an Android sparse image', '\x3a\xff\x26\xed', 'convert it first with simg2img'),
  container('a Partclone image', 'partclone-image', 'restore it to a disk first with partclone.restore'),
  container(
    'an image of ntfsclone',
    '\0ntfsclone-image',
    'restore it to a disk first with "ntfsclone --restore-image"',
  ),
  container('a Ghost image', '\xfe\xef\x01', 'restore it to a disk first with the program that made it'),
  container('a sparse image of macOS', 'sprs', 'convert it first with "hdiutil convert"'),
  container('a Proxmox backup (VMA)', 'VMA\0', 'extract the disk images from it first with "vma extract"'),
  container('a tar archive', 'ustar', EXTRACT, TAR_OFFSET),
  container('an XML file, such as the description of a machine', '<?xml ', NAME_IMAGE),
  container('the configuration of a VMware machine', '.encoding = "', NAME_IMAGE),
  container('a web page', '<!DOCTYPE html', DOWNLOAD_AGAIN),
  container('a web page', '<!doctype html', DOWNLOAD_AGAIN),
  container('a web page', '<html', DOWNLOAD_AGAIN),
  container('a pointer of Git LFS', 'version https://git-lfs', 'get the image itself first with "git lfs pull"'),
];

/** At the end of the file. */
const DMG_TRAILER = Buffer.from('koly', 'latin1');
const DMG_TRAILER_LENGTH = 512;

/** What a file is instead of a disk image, and what to do; undefined if it is none of these. */
export async function containerIn(file: ByteSource, size: bigint): Promise<string | undefined> {
  const head = await readFully(file, 0, HEAD);
  const found = CONTAINERS.find(({ magic, offset }) => head.subarray(offset, offset + magic.length).equals(magic));
  if (found === undefined)
    return (await endsAsDmg(file, size))
      ? 'ends like a disk image of macOS: state format dmg, or raw if it is none'
      : undefined;
  const ova = startsOva(head);
  const what = ova ? 'an OVA, which is a tar archive' : found.name;
  const remedy = ova ? 'add it as a drive of its own, or extract the .vmdk files from it first' : found.remedy;
  return `is ${what}, not a disk image: ${remedy}; a drive that really begins like this needs format raw`;
}

async function endsAsDmg(file: ByteSource, size: bigint): Promise<boolean> {
  const at = Number(size) - DMG_TRAILER_LENGTH;
  return at >= 0 && (await readFully(file, at, DMG_TRAILER.length)).equals(DMG_TRAILER);
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

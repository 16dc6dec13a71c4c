/** The image formats that drives can have, and how each is recognised. */

/**
 * Formats that become qemu's `driver`. A closed list: qemu has drivers such as
 * `vvfat`, `nbd` or `blkdebug` that would reach files and networks.
 */
export const IMAGE_FORMATS = [
  'raw',
  'qcow2',
  'qcow',
  'qed',
  'vmdk',
  'vdi',
  'vhdx',
  'vpc',
  'parallels',
  'bochs',
  'cloop',
  'dmg',
] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/**
 * The formats that can be recognised. LUKS is not a format for drives: its key belongs in
 * the appliance, where `cryptsetup_open` opens the container on the raw drive.
 */
export type SniffedFormat = ImageFormat | 'luks';

/** Whether `name` is a format that a drive can have. */
export function isImageFormat(name: string): name is ImageFormat {
  return (IMAGE_FORMATS as readonly string[]).includes(name);
}

/** Formats that qemu only reads. */
export const READ_ONLY_FORMATS: ReadonlySet<ImageFormat> = new Set(['bochs', 'cloop', 'dmg']);

/** Formats whose qemu driver supports backing images: it must always be given one, or explicitly none. */
export const BACKED_FORMATS: ReadonlySet<ImageFormat> = new Set(['qcow2', 'qcow', 'qed', 'vmdk']);

/** Formats for which the library lets `discard` be `enable`. */
export const DISCARD_FORMATS: ReadonlySet<ImageFormat> = new Set(['raw', 'qcow2']);

/** How many bytes {@link sniffFormat} needs, or all of a shorter file. */
export const SNIFF_LENGTH = 512;

const MAGICS: readonly (readonly [SniffedFormat, number, Buffer])[] = [
  // Version 1; to qemu, a version 2 container is raw.
  ['luks', 0, Buffer.from('LUKS\xba\xbe\0\x01', 'latin1')],
  ['qed', 0, Buffer.from('QED\0', 'latin1')],
  ['vmdk', 0, Buffer.from('KDMV', 'latin1')],
  ['vmdk', 0, Buffer.from('COWD', 'latin1')],
  ['vhdx', 0, Buffer.from('vhdxfile', 'latin1')],
  ['vpc', 0, Buffer.from('conectix', 'latin1')],
  ['parallels', 0, Buffer.from('WithoutFreeSpace', 'latin1')],
  ['parallels', 0, Buffer.from('WithouFreSpacExt', 'latin1')],
  ['bochs', 0, Buffer.from('Bochs Virtual HD Image', 'latin1')],
  ['cloop', 0, Buffer.from('#!/bin/sh\n#V2.0 Format\nmodprobe cloop', 'latin1')],
  ['vdi', 0x40, Buffer.from([0x7f, 0x10, 0xda, 0xbe])],
];

/**
 * The format of a file, judged by its start; `raw` if it matches none.
 *
 * As formats are recognised here, and qemu is always given the driver, qemu
 * itself never guesses.
 */
export function sniffFormat(head: Buffer): SniffedFormat {
  if (head.subarray(0, 4).equals(QCOW_MAGIC) && head.length >= 8) {
    const version = head.readUInt32BE(4);
    return version === 0 ? 'raw' : version === 1 ? 'qcow' : 'qcow2';
  }
  for (const [format, offset, magic] of MAGICS) {
    if (head.subarray(offset, offset + magic.length).equals(magic)) return format;
  }
  return isVmdkDescriptor(head) ? 'vmdk' : 'raw';
}

/** First bytes of qcow and qcow2. */
export const QCOW_MAGIC = Buffer.from('QFI\xfb', 'latin1');

/** A VMDK descriptor is a text file: comments and blank lines, then `version=`. */
function isVmdkDescriptor(head: Buffer): boolean {
  for (const line of head.toString('latin1').split('\n')) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    return /^version=\d/.test(text);
  }
  return false;
}

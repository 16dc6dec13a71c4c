/** The client's own images that refer to files that are not: in whatever way they are attached, they lead nowhere. */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../support/diskImages.js';
import { leadingHeader } from '../support/leadingQcow2.js';
import type { Place } from './place.js';

export interface HeaderEscape {
  readonly name: string;
  /** Creates the image in the client's directory; returns its name, and the name of the host's file in its header. */
  readonly image: (place: Place) => { readonly path: string; readonly written: string };
  readonly format: string;
}

const MEBIBYTE = 1 << 20;
let made = 0;

/** A qcow2 image with a backing file; `format` null: the backing format is not stated. */
function overlay(place: Place, backing: string, format: string | null): string {
  const name = `over${made++}.qcow2`;
  const path = join(place.root, name);
  run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', 'x'.repeat(900), '-F', 'raw', path, '1M');
  const image = readFileSync(path);
  const at = Number(image.readBigUInt64BE(8));
  image.fill(0, at, at + image.readUInt32BE(16));
  image.write(backing, at);
  image.writeUInt32BE(Buffer.byteLength(backing), 16);
  const extension = image.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
  if (format === null) image.writeUInt32BE(0x11111111, extension);
  else {
    // The extension has room for eight bytes, as created for `raw`.
    image.writeUInt32BE(format.length, extension + 4);
    image.fill(0, extension + 8, extension + 16).write(format, extension + 8);
  }
  writeFileSync(path, image);
  return name;
}

const backing = (name: string, target: (place: Place) => string, format: string | null = 'raw'): HeaderEscape => ({
  name: `a qcow2 image on ${name}`,
  format: 'qcow2',
  image: (place) => {
    const written = target(place);
    return { path: overlay(place, written, format), written };
  },
});

const dataFile = (name: string, target: (place: Place) => string): HeaderEscape => ({
  name: `a qcow2 image with its data in ${name}`,
  format: 'qcow2',
  image: (place) => {
    const written = target(place);
    const path = `data${made++}.qcow2`;
    run('qemu-img', 'create', '-q', '-f', 'qcow2', join(place.root, path), '1M');
    const image = readFileSync(join(place.root, path));
    leadingHeader(image, written).copy(image);
    writeFileSync(join(place.root, path), image);
    return { path, written };
  },
});

/** An image made of bytes. */
const bytes = (
  name: string,
  format: string,
  target: (place: Place) => string,
  contents: (written: string) => Buffer,
): HeaderEscape => ({
  name,
  format,
  image: (place) => {
    const written = target(place);
    const image = Buffer.alloc(Math.max(2 * MEBIBYTE, contents(written).length));
    contents(written).copy(image);
    return { path: place.own(`bytes${made++}.${format}`, image), written };
  },
});

/** A VMDK that is nothing but its descriptor; longer ones are refused as such. */
const vmdkText = (
  name: string,
  target: (place: Place) => string,
  contents: (written: string) => string,
): HeaderEscape => ({
  name: `a VMDK ${name}`,
  format: 'vmdk',
  image: (place) => {
    const written = target(place);
    return { path: place.own(`text${made++}.vmdk`, Buffer.from(contents(written))), written };
  },
});

function descriptor(extents: string, more = 'parentCID=ffffffff'): string {
  return `# Disk DescriptorFile\nversion=1\nCID=fffffffe\n${more}\ncreateType="monolithicFlat"\n\n${extents}\nddb.adapterType = "ide"\n`;
}

/** A sparse VMDK with a descriptor inside. */
function sparseVmdk(text: string, capacity = 2048n): Buffer {
  const image = Buffer.alloc(MEBIBYTE);
  image.write('KDMV');
  image.writeUInt32LE(1, 4);
  image.writeUInt32LE(3, 8);
  image.writeBigUInt64LE(capacity, 12);
  image.writeBigUInt64LE(128n, 20);
  image.writeBigUInt64LE(1n, 28);
  image.writeBigUInt64LE(20n, 36);
  image.writeUInt32LE(512, 44);
  image.writeBigUInt64LE(21n, 48);
  image.writeBigUInt64LE(26n, 56);
  image.writeBigUInt64LE(128n, 64);
  image.write(text, 512);
  return image;
}

/** qcow, version 1: a header with a backing file, whose format it cannot state. */
function qcow1(target: string): Buffer {
  const image = Buffer.alloc(MEBIBYTE);
  image.write('QFI\xfb', 'latin1');
  image.writeUInt32BE(1, 4);
  image.writeBigUInt64BE(512n, 8);
  image.writeUInt32BE(Buffer.byteLength(target), 16);
  image.writeBigUInt64BE(BigInt(MEBIBYTE), 24);
  image.writeUInt8(12, 32);
  image.writeUInt8(9, 33);
  image.writeBigUInt64BE(4096n, 40);
  image.write(target, 512);
  return image;
}

function qed(target: string, rawBacking: boolean): Buffer {
  const image = Buffer.alloc(2 * MEBIBYTE);
  image.write('QED\0');
  image.writeUInt32LE(65536, 4);
  image.writeUInt32LE(4, 8);
  image.writeUInt32LE(1, 12);
  image.writeBigUInt64LE(rawBacking ? 5n : 1n, 16);
  image.writeBigUInt64LE(65536n, 40);
  image.writeBigUInt64LE(BigInt(MEBIBYTE), 48);
  image.writeUInt32LE(64, 56);
  image.writeUInt32LE(Buffer.byteLength(target), 60);
  image.write(target, 64);
  return image;
}

/** VHD: a differencing disk, with the name of its parent in its dynamic header. */
function vhd(target: string): Buffer {
  const image = Buffer.alloc(MEBIBYTE);
  const footer = Buffer.alloc(512);
  footer.write('conectix');
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x10000, 12);
  footer.writeBigUInt64BE(512n, 16);
  footer.writeBigUInt64BE(BigInt(MEBIBYTE), 40);
  footer.writeBigUInt64BE(BigInt(MEBIBYTE), 48);
  footer.writeUInt32BE(4, 60);
  footer.writeUInt32BE(~footer.reduce((sum, byte) => sum + byte, 0) >>> 0, 64);
  footer.copy(image);
  image.write('cxsparse', 512);
  image.write(target, 512 + 64, 'utf16le');
  footer.copy(image, MEBIBYTE - 512);
  return image;
}

const raw = ({ raw: path }: Place): string => path;
const qcow2 = ({ qcow2: path }: Place): string => path;

export const HEADER_ESCAPES: readonly HeaderEscape[] = [
  backing('a file outside', raw),
  backing('a disk image outside', qcow2, 'qcow2'),
  backing('a file outside, by dots', (place) => place.fromRoot(place.raw)),
  backing('a file outside, of no stated format', raw, null),
  backing('nothing outside', ({ outside }) => `${outside}/nothing`),
  backing('a directory outside', ({ outside }) => outside),
  backing('a link to a file outside', (place) => {
    symlinkSync(place.raw, join(place.root, `way${made}`));
    return `way${made++}`;
  }),
  backing('an image on a file outside', (place) => overlay(place, place.raw, 'raw'), 'qcow2'),
  backing(
    'an image on an image on a file outside',
    (place) => overlay(place, overlay(place, place.raw, 'raw'), 'qcow2'),
    'qcow2',
  ),
  backing('an image with its data outside', (place) => dataFile('', raw).image(place).path, 'qcow2'),
  backing(
    'a VMDK with its extents outside',
    (place) => {
      return place.own(`below${made++}.vmdk`, descriptor(`RW 2048 FLAT "${place.raw}" 0`).padEnd(65536, '\0'));
    },
    'vmdk',
  ),
  backing('itself', () => `over${made}.qcow2`, 'qcow2'),
  ...['vvfat', 'nbd', 'blkdebug', 'file', 'luks', 'host_dev', 'r/a/w', 'raw,x=y'].map((format) =>
    backing(`a file outside as ${format}`, raw, format),
  ),
  ...[
    ...['file:PATH', 'file:///PATH', 'json:{"driver":"file","filename":"PATH"}'],
    ...['json:{"driver":"raw","file":{"driver":"file","filename":"PATH"}}', 'json:{"file.filename":"PATH"}'],
    ...['nbd:unix:PATH', 'nbd://127.0.0.1/', 'nbd+unix:///?socket=PATH', 'http://127.0.0.1/x', 'ssh://127.0.0.1/x'],
    ...['fat:PATH', 'fat:rw:PATH', 'blkdebug:PATH:PATH', 'blkverify:PATH:PATH', 'host_device:PATH', 'null-co://'],
    ...['raw:PATH', 'PATH\0.img', 'PATH,readonly=off', '\nPATH', '/proc/self/fd/9', '/dev/fd/9', '/dev/fdset/1'],
    ...['/proc/self/environ', '/proc/self/root/etc/passwd', '/dev/stdin', '/dev/null', '/dev/vda'],
  ].map((pattern) => backing(JSON.stringify(pattern), (place) => pattern.replaceAll('PATH', place.raw))),
  dataFile('a file outside', raw),
  dataFile('a file outside, by dots', (place) => place.fromRoot(place.raw)),
  dataFile('a link to a file outside', (place) => {
    symlinkSync(place.raw, join(place.root, `way${made}`));
    return `way${made++}`;
  }),
  dataFile('a file of the system', () => '/etc/passwd'),
  dataFile('a descriptor', () => '/proc/self/fd/9'),
  dataFile('a FIFO', () => 'pipe'),
  dataFile('a json: name', ({ raw: path }) => `json:{"driver":"file","filename":"${path}"}`),
  dataFile('a server', () => 'nbd://127.0.0.1/'),
  dataFile('no file', () => ''),
  ...(['FLAT', 'SPARSE', 'VMFS', 'VMFSSPARSE', 'SESPARSE'] as const).map((type) =>
    bytes(`a VMDK with a ${type} extent outside`, 'vmdk', raw, (path) =>
      Buffer.from(descriptor(`RW 2048 ${type} "${path}"${type === 'FLAT' ? ' 0' : ''}`)),
    ),
  ),
  ...(['FLAT', 'SPARSE', 'VMFS'] as const).map((type) =>
    vmdkText(`with two ${type} extents outside`, raw, (path) =>
      descriptor(`RW 512 ${type} "${path}"${type === 'FLAT' ? ' 0' : ''}\n`.repeat(2)),
    ),
  ),
  vmdkText(
    'with two extents by dots',
    (place) => place.fromRoot(place.raw),
    (path) => descriptor(`RW 512 FLAT "${path}" 0\n`.repeat(2)),
  ),
  vmdkText(
    'with two extents in the syntax of qemu',
    ({ raw: path }) => `json:{'file.filename':'${path}'}`,
    (written) => descriptor(`RW 512 SPARSE "${written}"\n`.repeat(2)),
  ),
  vmdkText('in several files with a parent outside', qcow2, (path) =>
    descriptor('RW 512 FLAT "pipe" 0', `parentCID=12345678\nparentFileNameHint="${path}"`),
  ),
  vmdkText(
    'that is its own parent and extent',
    () => `text${made}.vmdk`,
    (path) => descriptor(`RW 1 FLAT "${path}" 0`, `parentCID=fffffffe\nparentFileNameHint="${path}"`),
  ),
  bytes(
    'a VMDK with an extent by dots',
    'vmdk',
    (place) => place.fromRoot(place.raw),
    (path) => Buffer.from(descriptor(`RW 2048 FLAT "${path}" 0`)),
  ),
  bytes(
    'a VMDK with an extent at a server',
    'vmdk',
    () => 'nbd://127.0.0.1/',
    (path) => Buffer.from(descriptor(`RW 2048 FLAT "${path}" 0`)),
  ),
  bytes('a VMDK with blank lines before its descriptor', 'vmdk', raw, (path) =>
    Buffer.from(`\n\n#\n${descriptor(`RW 2048 FLAT "${path}" 0`)}`),
  ),
  bytes('a sparse VMDK without a capacity, whose descriptor counts', 'vmdk', raw, (path) =>
    sparseVmdk(descriptor(`RW 2048 FLAT "${path}" 0`), 0n),
  ),
  bytes('a sparse VMDK with a parent outside', 'vmdk', raw, (path) =>
    sparseVmdk(descriptor('RW 2048 SPARSE "x"', `parentCID=12345678\nparentFileNameHint="${path}"`)),
  ),
  bytes('a sparse VMDK with a parent that it spells strangely', 'vmdk', raw, (path) =>
    sparseVmdk(descriptor('RW 2048 SPARSE "x"', `ParentFileNameHint="${path}"`)),
  ),
  bytes('a qcow image on a file outside', 'qcow', raw, qcow1),
  bytes('a qcow image on a json: name', 'qcow', ({ raw: path }) => `json:{"file.filename":"${path}"}`, qcow1),
  bytes('a QED image on a file outside', 'qed', raw, (path) => qed(path, false)),
  bytes('a QED image on a raw file outside', 'qed', raw, (path) => qed(path, true)),
  bytes('a VHD with a parent outside', 'vpc', raw, vhd),
];

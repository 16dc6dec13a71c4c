/** Windows registry hives: an empty one, and others that hivexregedit makes from it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../diskImages.js';

const PAGE = 4096;
/** "None", in place of an offset. */
const NOWHERE = 0xffffffff;
/** Offsets are relative to the end of the header; blocks start after the page's own header. */
const ROOT = 0x20;
const ROOT_SIZE = 0x58;
const SECURITY = ROOT + ROOT_SIZE;
const SECURITY_SIZE = 0x30;
const FREE = SECURITY + SECURITY_SIZE;
/** A root, named in ASCII, that cannot be deleted. */
const ROOT_FLAGS = 0x2c;

/** The checksum of the header, which is its last word. */
function checksum(header: Buffer): number {
  let sum = 0;
  for (let offset = 0; offset < 0x1fc; offset += 4) sum ^= header.readUInt32LE(offset);
  return sum >>> 0;
}

function headerPage(): Buffer {
  const header = Buffer.alloc(PAGE);
  header.write('regf', 0, 'latin1');
  header.writeUInt32LE(1, 4); // both sequence numbers are equal: it was written completely
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(1, 20); // version 1.3
  header.writeUInt32LE(3, 24);
  header.writeUInt32LE(1, 32);
  header.writeUInt32LE(ROOT, 36);
  header.writeUInt32LE(PAGE, 40); // all pages together
  header.writeUInt32LE(1, 44);
  header.writeUInt32LE(checksum(header), 0x1fc);
  return header;
}

/** The root, without children and values. */
function writeRoot(page: Buffer): void {
  page.writeInt32LE(-ROOT_SIZE, ROOT); // in use
  page.write('nk', ROOT + 4, 'latin1');
  page.writeUInt16LE(ROOT_FLAGS, ROOT + 6);
  for (const offset of [0x14, 0x20, 0x24, 0x2c, 0x34]) page.writeUInt32LE(NOWHERE, ROOT + offset);
  page.writeUInt32LE(SECURITY, ROOT + 0x30);
  page.writeUInt16LE(4, ROOT + 0x4c);
  page.write('root', ROOT + 0x50, 'latin1');
}

/** The security descriptor, which nodes share, in a ring of one. */
function writeSecurity(page: Buffer): void {
  page.writeInt32LE(-SECURITY_SIZE, SECURITY);
  page.write('sk', SECURITY + 4, 'latin1');
  page.writeUInt32LE(SECURITY, SECURITY + 8);
  page.writeUInt32LE(SECURITY, SECURITY + 12);
  page.writeUInt32LE(1, SECURITY + 16);
  page.writeUInt32LE(20, SECURITY + 20);
  page.set([1, 0, 4, 0x80], SECURITY + 24); // a descriptor that allows nothing to nobody
}

/** A hive with nothing in it. */
export function emptyHive(): Buffer {
  const page = Buffer.alloc(PAGE);
  page.write('hbin', 0, 'latin1');
  page.writeUInt32LE(PAGE, 8);
  writeRoot(page);
  writeSecurity(page);
  page.writeInt32LE(PAGE - FREE, FREE);
  return Buffer.concat([headerPage(), page]);
}

/** A hive with the keys in a text in regedit's format, below a prefix such as `HKEY_LOCAL_MACHINE\SOFTWARE`. */
export function hiveOf(prefix: string, registryText: string): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'hive-'));
  try {
    const hive = join(directory, 'hive');
    const text = join(directory, 'hive.reg');
    writeFileSync(hive, emptyHive());
    writeFileSync(text, registryText);
    run('hivexregedit', '--merge', '--prefix', prefix, hive, text);
    return readFileSync(hive);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

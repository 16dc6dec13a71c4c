/**
 * Lists the files in a tar archive, whose headers are untrusted.
 *
 * Only what archives of plain files need is understood: ustar and its GNU variant, sizes in base 256, long names and the
 * `size` and `path` of pax. Anything else is refused, since to another reader the archive could contain other files.
 */
import { printableName } from '../common/guestText.js';
import { BadImageHeader } from './badImageHeader.js';
import { readFully, type ByteSource } from './readFully.js';

/** A file in an archive. */
export interface TarMember {
  readonly name: string;
  /** Where its content begins in the archive, a multiple of 512. */
  readonly at: number;
  /** Bytes. */
  readonly size: number;
}

const BLOCK = 512;
/** Entries of any kind: an OVA has a file for each disk, and three more. */
const MAX_ENTRIES = 128;
/** Of the records of pax in one entry. */
const MAX_RECORDS = 16 * 1024;
const MAX_NAME = 1024;

/** What an entry says about the next one. */
interface Override {
  readonly name?: string;
  readonly size?: number;
}

/** @throws BadImageHeader */
export async function tarMembers(archive: ByteSource, archiveSize: bigint): Promise<readonly TarMember[]> {
  const end = archiveSize > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(archiveSize);
  const members: TarMember[] = [];
  let override: Override = {};
  let at = 0;
  for (let entries = 0; at < end; entries += 1) {
    if (entries === MAX_ENTRIES) throw bad(`has more than ${MAX_ENTRIES} entries`);
    const header = await readFully(archive, at, BLOCK);
    if (header.length < BLOCK) throw bad('is cut off');
    if (header.every((byte) => byte === 0)) break;
    checkHeader(header, at);
    const kind = String.fromCharCode(header[TYPE_AT] ?? 0);
    const isFile = kind === '0' || kind === '\0';
    const size = (isFile ? override.size : undefined) ?? numberAt(header, SIZE_AT, 12);
    const data = at + BLOCK;
    const next = data + Math.ceil(size / BLOCK) * BLOCK;
    if (next > end) throw bad(`is cut off, or has an entry at ${at} that is too long`);
    if (isFile) {
      const name = checkName(withoutDot(override.name ?? nameIn(header)));
      if (members.some((one) => one.name === name)) throw bad(`has two files named '${printableName(name)}'`);
      members.push({ name, at: data, size });
      override = {};
    } else if (kind === 'x' || kind === 'L') {
      override = { ...override, ...(await overrideIn(archive, kind, data, size)) };
    } else if (kind === 'g') {
      if (Object.keys(await overrideIn(archive, kind, data, size)).length > 0)
        throw bad('states names or sizes for all of its files at once');
    } else if (kind === '5' && size === 0) {
      override = {};
    } else {
      throw bad(`has an entry at ${at} that is neither a file nor a directory`);
    }
    at = next;
  }
  return members;
}

function bad(what: string): BadImageHeader {
  return new BadImageHeader(`is a tar archive that ${what}`);
}

const SIZE_AT = 124;
const CHECKSUM_AT = 148;
const TYPE_AT = 156;
const MAGIC_AT = 257;
const PREFIX_AT = 345;

function checkHeader(header: Buffer, at: number): void {
  let sum = 0;
  for (const [index, byte] of header.entries()) sum += index >= CHECKSUM_AT && index < CHECKSUM_AT + 8 ? 0x20 : byte;
  if (header.toString('latin1', MAGIC_AT, MAGIC_AT + 5) !== 'ustar' || numberAt(header, CHECKSUM_AT, 8) !== sum)
    throw bad(`has a damaged header at ${at}`);
}

/** A number in octal digits, or, if its first byte says so, in base 256. */
function numberAt(header: Buffer, at: number, length: number): number {
  const field = header.subarray(at, at + length);
  if (field[0] === 0x80) {
    const value = BigInt(`0x${field.subarray(1).toString('hex')}`);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad('has a number that is too large');
    return Number(value);
  }
  const digits = /^ *([0-7]+)[ \0]*$/.exec(field.toString('latin1'))?.[1];
  if (digits === undefined) throw bad('has a number that is none');
  return Number.parseInt(digits, 8);
}

function nameIn(header: Buffer): string {
  const name = textOf(header.subarray(0, 100));
  const isUstar = header[MAGIC_AT + 5] === 0;
  const prefix = isUstar ? textOf(header.subarray(PREFIX_AT, PREFIX_AT + 155)) : '';
  return checkName(prefix === '' ? name : `${prefix}/${name}`);
}

/** A NUL ends it. */
function textOf(bytes: Buffer): string {
  const nul = bytes.indexOf(0);
  return (nul === -1 ? bytes : bytes.subarray(0, nul)).toString('utf8');
}

function checkName(name: string): string {
  if (name === '' || Buffer.byteLength(name) > MAX_NAME || name.includes('\0'))
    throw bad('has a file whose name is empty or too long');
  return name;
}

function withoutDot(name: string): string {
  return name.startsWith('./') ? name.slice(2) : name;
}

async function overrideIn(archive: ByteSource, kind: string, at: number, size: number): Promise<Override> {
  if (size > MAX_RECORDS) throw bad(`has an entry of ${size} bytes about another one`);
  const bytes = await readFully(archive, at, size);
  if (bytes.length < size) throw bad('is cut off');
  return kind === 'L' ? { name: checkName(textOf(bytes)) } : recordsIn(bytes);
}

/** Records of pax: `LENGTH KEY=VALUE\n`, where the length is that of the whole record. */
function recordsIn(bytes: Buffer): Override {
  const override: { name?: string; size?: number } = {};
  for (let at = 0; at < bytes.length; ) {
    const head = /^([1-9]\d{0,5}) ([^=\0\n]{1,200})=/.exec(bytes.toString('latin1', at, at + 220));
    const [start = '', length = '0', key = ''] = head ?? [];
    const end = at + Number(length);
    if (head === null || end > bytes.length || end - at <= start.length || bytes[end - 1] !== 0x0a)
      throw bad('has damaged records of pax');
    const value = bytes.subarray(at + start.length, end - 1).toString('utf8');
    if (key.startsWith('GNU.sparse')) throw bad('has sparse files');
    if (key === 'path') override.name = checkName(value);
    if (key === 'size') {
      if (!/^\d{1,15}$/.test(value)) throw bad('has a number that is none');
      override.size = Number(value);
    }
    at = end;
  }
  return override;
}

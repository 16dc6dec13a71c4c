/**
 * Converts text from guests, which is bytes, to strings, which are Unicode, and back.
 *
 * Valid UTF-8 is decoded as usual. Each byte from 0x80 that is not part of valid
 * UTF-8 becomes one private-use code point, U+EF00 + byte (U+EF80 to U+EFFF), and is converted
 * back to that byte. To prevent two names from sharing a string, one of these code points that is
 * itself encoded in UTF-8 in a name is treated as invalid bytes. MirBSD's OPTU-8 uses the same
 * range for this purpose.
 */
import { isUtf8 } from 'node:buffer';

const ESCAPE_BASE = 0xef00;
const ESCAPE_FIRST = 0xef80;
const ESCAPE_LAST = 0xefff;
/** The UTF-8 forms of U+EF80 to U+EFFF begin with these two bytes ... */
const ESCAPE_LEAD = 0xee;
/** ... followed by this one or the next. */
const ESCAPE_SECOND = 0xbe;

const ESCAPE_PATTERN = /[\uef80-\uefff]/;

const SURROGATE_FIRST = 0xd800;
const SURROGATE_LAST = 0xdfff;
const LAST_POINT = 0x10ffff;
const REPLACEMENT = 0xfffd;
/** Lowest code point that needs this many bytes after the first. */
const LEAST: readonly number[] = [0, 0x80, 0x800, 0x10000];
/** Maximum number of UTF-8 bytes for one UTF-16 code unit. */
const UTF8_GROWTH = 3;

/** True if the bytes contain the UTF-8 form of a code point that represents a byte. */
function holdsEscape(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(ESCAPE_LEAD); at >= 0; at = bytes.indexOf(ESCAPE_LEAD, at + 1)) {
    if (((bytes[at + 1] ?? 0) & 0xfe) === ESCAPE_SECOND) return true;
  }
  return false;
}

/** Number of bytes after the first in the UTF-8 form of a code point. */
function bytesAfterFirst(point: number): number {
  return point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
}

/** The code point whose UTF-8 form starts at `at`; -1 if there is none, or it represents a byte. */
function pointAt(bytes: Buffer, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return lead;
  const more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
  if (more === 0) return -1;
  let point = lead & (0x3f >> more);
  for (let index = 1; index <= more; index += 1) {
    const next = bytes[at + index] ?? 0;
    if ((next & 0xc0) !== 0x80) return -1;
    point = (point << 6) | (next & 0x3f);
  }
  const valid =
    point >= (LEAST[more] ?? 0) &&
    point <= LAST_POINT &&
    !(point >= SURROGATE_FIRST && point <= SURROGATE_LAST) &&
    !(point >= ESCAPE_FIRST && point <= ESCAPE_LAST);
  return valid ? point : -1;
}

/** Converts bytes of a guest to a string; never fails. */
export function decodeGuestText(bytes: Buffer): string {
  if (isUtf8(bytes) && !holdsEscape(bytes)) return bytes.toString('utf8');
  // Done without library functions, in one pass: crafted names from a guest must not stall the server.
  const units = Buffer.allocUnsafe(2 * bytes.length);
  let length = 0;
  for (let at = 0; at < bytes.length; ) {
    const point = pointAt(bytes, at);
    if (point < 0) {
      length = units.writeUInt16LE(ESCAPE_BASE + (bytes[at] ?? 0), length);
      at += 1;
      continue;
    }
    if (point < 0x10000) {
      length = units.writeUInt16LE(point, length);
    } else {
      length = units.writeUInt16LE(SURROGATE_FIRST + ((point - 0x10000) >> 10), length);
      length = units.writeUInt16LE(0xdc00 + (point & 0x3ff), length);
    }
    at += 1 + bytesAfterFirst(point);
  }
  return units.toString('utf16le', 0, length);
}

/** Converts a string to bytes: the reverse of {@link decodeGuestText}. */
export function encodeGuestText(text: string): Buffer {
  if (!ESCAPE_PATTERN.test(text)) return Buffer.from(text, 'utf8');
  const bytes = Buffer.allocUnsafe(UTF8_GROWTH * text.length);
  let length = 0;
  for (let at = 0; at < text.length; at += 1) {
    let point = text.codePointAt(at) ?? 0;
    if (point >= ESCAPE_FIRST && point <= ESCAPE_LAST) {
      bytes[length] = point - ESCAPE_BASE;
      length += 1;
      continue;
    }
    if (point >= 0x10000) at += 1;
    else if (point >= SURROGATE_FIRST && point <= SURROGATE_LAST) point = REPLACEMENT;
    const more = bytesAfterFirst(point);
    bytes[length] = more === 0 ? point : ((0x780 >> more) & 0xff) | (point >> (6 * more));
    length += 1;
    for (let shift = 6 * (more - 1); shift >= 0; shift -= 6) {
      bytes[length] = 0x80 | ((point >> shift) & 0x3f);
      length += 1;
    }
  }
  return bytes.subarray(0, length);
}

/**
 * Text of several lines, such as the output of a console or a daemon, in a form for logs and error messages: control
 * characters other than newline and tab are escaped.
 */
export function printable(text: string): string {
  return escaped(text, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g);
}

/** Maximum length of a name quoted in a message, characters. */
const MAX_QUOTED_NAME = 300;

/**
 * A name or path in a form for messages. So that its author cannot add lines to a message or fill it, all control
 * characters are escaped, and it is truncated.
 */
export function printableName(name: string): string {
  const shown = escaped(name, /[\u0000-\u001f\u007f-\u009f]/g);
  return shown.length > MAX_QUOTED_NAME ? `${shown.slice(0, MAX_QUOTED_NAME).toWellFormed()}...` : shown;
}

function escaped(text: string, characters: RegExp): string {
  return text
    .toWellFormed()
    .replace(characters, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

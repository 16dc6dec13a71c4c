/** File names of guests are bytes; each of them must survive the conversion to a string and back. */
import { isUtf8 } from 'node:buffer';
import { describe, expect, it } from '@jest/globals';
import { array, assert, constantFrom, oneof, property, uint8Array } from 'fast-check';
import { decodeGuestText, encodeGuestText, printable, printableName } from '../../../src/common/guestText.js';

function bytesOf(...hex: readonly string[]): Buffer {
  return Buffer.from(hex.join('').replaceAll(' ', ''), 'hex');
}

/** Code points as `U+E9`. */
function points(text: string): string {
  return [...text].map((character) => `U+${character.codePointAt(0)?.toString(16).toUpperCase()}`).join(' ');
}

/** Pieces that combine all kinds of bytes more often than chance would. */
const PIECES = [
  'a',
  '/',
  'é',
  'ÿ',
  '日',
  '\u{1f600}',
  '\u{10ffff}',
  '\ufeff',
  '\uefff',
  '\uef80',
  '\uef7f',
  '\uf000',
  '\ue000',
  '\ud7ff',
]
  .map((text) => Buffer.from(text, 'utf8'))
  .concat(
    [
      'e9',
      'c3',
      'e2',
      'e282',
      'f0',
      'f09f',
      'f09f98',
      '80',
      'bf',
      'c080',
      'c1bf',
      'e08080',
      'e09fbf',
      'f0808080',
      'f08fbfbf',
      'eda080',
      'edbfbf',
      'eda080edb080',
      'f4908080',
      'f5',
      'ff',
      'fe',
      'ee',
      'eebe',
      'eebf',
      'eebe80',
      'eebfbf',
      'eebebf',
      '7f',
      '01',
    ].map((hex) => Buffer.from(hex, 'hex')),
  );

/** Bytes of all kinds, each kind half of the time. */
const anyBytes = oneof(
  uint8Array({ maxLength: 39, size: 'max' }).map((bytes) => Buffer.from(bytes)),
  array(constantFrom(...PIECES), { maxLength: 7, size: 'max' }).map((pieces) => Buffer.concat(pieces)),
);

describe('text of guests', () => {
  it.each([
    ['ASCII', '/etc/passwd'],
    ['two-byte letters', '/Größe'],
    ['three-byte letters', '/日本'],
    ['four-byte letters', '/\u{1f600}'],
    ['a byte order mark', '\ufeffname'],
    ['NUL', 'a\0b'],
    ['private-use letters outside the range', '\ue000\uef7f\uf000\uf8ff'],
    ['nothing', ''],
  ])('%s stays unchanged', (_what, text) => {
    expect(decodeGuestText(Buffer.from(text, 'utf8'))).toBe(text);
    expect(encodeGuestText(text)).toEqual(Buffer.from(text, 'utf8'));
  });

  it('a name in Latin-1 becomes letters and private-use code points, and is converted back', () => {
    const name = Buffer.from('/café/déjà vu', 'latin1');
    expect(decodeGuestText(name)).toBe('/caf\uefe9/d\uefe9j\uefe0 vu');
    expect(encodeGuestText(decodeGuestText(name))).toEqual(name);
  });

  it('every single byte from 0x80 has its own code point', () => {
    for (let byte = 0x80; byte <= 0xff; byte += 1) {
      expect(decodeGuestText(Buffer.of(byte))).toBe(String.fromCharCode(0xef00 + byte));
      expect(encodeGuestText(String.fromCharCode(0xef00 + byte))).toEqual(Buffer.of(byte));
    }
  });

  it.each([
    ['a sequence cut short at the end', 'e2 82', 'U+EFE2 U+EF82'],
    ['a sequence cut short in the middle', 'e2 82 41', 'U+EFE2 U+EF82 U+41'],
    ['a four-byte sequence cut short', 'f0 9f 98', 'U+EFF0 U+EF9F U+EF98'],
    ['a continuation byte alone', '41 80 42', 'U+41 U+EF80 U+42'],
    ['an overlong slash', 'c0 af', 'U+EFC0 U+EFAF'],
    ['an overlong NUL', 'c0 80', 'U+EFC0 U+EF80'],
    ['an overlong form of three bytes', 'e0 80 af', 'U+EFE0 U+EF80 U+EFAF'],
    ['an overlong form of four bytes', 'f0 80 80 af', 'U+EFF0 U+EF80 U+EF80 U+EFAF'],
    ['a surrogate', 'ed a0 80', 'U+EFED U+EFA0 U+EF80'],
    ['a pair of surrogates', 'ed a0 bd ed b8 80', 'U+EFED U+EFA0 U+EFBD U+EFED U+EFB8 U+EF80'],
    ['a code point over U+10FFFF', 'f4 90 80 80', 'U+EFF4 U+EF90 U+EF80 U+EF80'],
    ['bytes that UTF-8 never has', 'f5 ff', 'U+EFF5 U+EFFF'],
    ['an invalid byte between valid letters', 'c3 a9 e9 c3 a9', 'U+E9 U+EFE9 U+E9'],
    ['a lead byte before a valid letter', 'e2 c3 a9', 'U+EFE2 U+E9'],
    ['the first code point of the range in UTF-8', 'ee be 80', 'U+EFEE U+EFBE U+EF80'],
    ['the last code point of the range in UTF-8', 'ee bf bf', 'U+EFEE U+EFBF U+EFBF'],
    ['the last before the range, among invalid bytes', 'e9 ee bd bf', 'U+EFE9 U+EF7F'],
    ['the first after the range, among invalid bytes', 'e9 ef 80 80', 'U+EFE9 U+F000'],
    ['a byte order mark after an invalid byte', 'e9 ef bb bf 41', 'U+EFE9 U+FEFF U+41'],
    ['a letter outside the BMP among invalid bytes', 'e9 f0 9f 98 80 e9', 'U+EFE9 U+1F600 U+EFE9'],
    ['the greatest code point among invalid bytes', 'ff f4 8f bf bf', 'U+EFFF U+10FFFF'],
    [
      'the letters on both sides of the surrogates, among invalid bytes',
      'ff ed 9f bf ee 80 80',
      'U+EFFF U+D7FF U+E000',
    ],
    [
      'the least letters of each length, among invalid bytes',
      'ff 01 c2 80 e0 a0 80 f0 90 80 80',
      'U+EFFF U+1 U+80 U+800 U+10000',
    ],
  ])('%s has its code points, and is converted back', (_what, hex, expected) => {
    const bytes = bytesOf(hex);
    const text = decodeGuestText(bytes);
    expect(points(text)).toBe(expected);
    expect(encodeGuestText(text)).toEqual(bytes);
  });

  it('any bytes are converted back', () => {
    let invalid = 0;
    const comeBack = property(anyBytes, (bytes) => {
      if (!isUtf8(bytes)) invalid += 1;
      return encodeGuestText(decodeGuestText(bytes)).equals(bytes);
    });
    assert(comeBack, { seed: 20_240_501, numRuns: 50_000 });
    expect(invalid).toBeGreaterThan(10_000);
  });

  it('all pairs of bytes are converted back, each with a different string', () => {
    const seen = new Set<string>();
    for (let pair = 0; pair < 0x10000; pair += 1) {
      const bytes = Buffer.of(pair >> 8, pair & 0xff);
      const text = decodeGuestText(bytes);
      if (!encodeGuestText(text).equals(bytes)) throw new Error(bytes.toString('hex'));
      seen.add(text);
    }
    expect(seen.size).toBe(0x10000);
  });

  it('no two names share a string', () => {
    const names = new Map<string, string>();
    const isAlone = property(anyBytes, (bytes) => {
      const [text, name] = [decodeGuestText(bytes), bytes.toString('hex')];
      const other = names.get(text) ?? name;
      names.set(text, name);
      if (other !== name) throw new Error(`${other} and ${name} are both ${points(text)}`);
    });
    assert(isAlone, { seed: 7, numRuns: 50_000 });
  });

  it('is well-formed Unicode whatever the bytes, so that it can be transmitted', () => {
    const isWellFormed = property(anyBytes, (bytes) => {
      const text = decodeGuestText(bytes);
      return text.isWellFormed() && Buffer.from(text, 'utf8').toString('utf8') === text;
    });
    assert(isWellFormed, { seed: 99, numRuns: 20_000 });
  });

  it('lone surrogates, which no client can send, become the replacement character', () => {
    expect(encodeGuestText('a\ud800b')).toEqual(Buffer.from('a\ufffdb', 'utf8'));
    expect(encodeGuestText('\uefe9\udc00\ud800')).toEqual(
      Buffer.concat([Buffer.of(0xe9), Buffer.from('\ufffd\ufffd', 'utf8')]),
    );
  });

  /** The longest text that a message can hold, in the worst ways: none may stop the server for long. */
  it.each([
    ['one invalid byte in ASCII', () => Buffer.alloc(4 * 1024 * 1024, 'a').fill(0xe9, 10, 11)],
    ['invalid bytes only', () => Buffer.alloc(4 * 1024 * 1024, 0xe9)],
    ['every other byte invalid', () => Buffer.alloc(4 * 1024 * 1024, Buffer.of(0x41, 0xe9))],
    ['lead bytes of the range', () => Buffer.alloc(4 * 1024 * 1024, 0xee)],
    ['code points of the range', () => Buffer.alloc(3 * 1024 * 1024, Buffer.of(0xee, 0xbe, 0x80))],
    [
      'two-byte letters after an invalid byte',
      () => Buffer.concat([Buffer.of(0xe9), Buffer.from('é'.repeat(2 * 1024 * 1024), 'utf8')]),
    ],
  ])('four megabytes with %s take little time, both ways', (_what, make) => {
    const bytes = make();
    const started = process.cpuUsage();
    const text = decodeGuestText(bytes);
    const back = encodeGuestText(text);
    const { user } = process.cpuUsage(started);
    expect(back.equals(bytes)).toBe(true);
    expect(user).toBeLessThan(1_500_000);
  });
});

describe('printable text', () => {
  it('keeps letters, newlines and tabs', () => {
    expect(printable('Größe 日本 \u{1f600}\n\tend')).toBe('Größe 日本 \u{1f600}\n\tend');
  });

  it('escapes control characters', () => {
    expect(printable('\u001b[31mred\u0007\r\u0000\u007f\u0085\u009b')).toBe(
      '\\x1b[31mred\\x07\\x0d\\x00\\x7f\\x85\\x9b',
    );
  });

  it('escapes every control character except newline and tab', () => {
    for (let code = 0; code < 0xa0; code += 1) {
      const character = String.fromCharCode(code);
      const control = (code < 0x20 || code >= 0x7f) && character !== '\n' && character !== '\t';
      expect(printable(character)).toBe(control ? `\\x${code.toString(16).padStart(2, '0')}` : character);
    }
  });

  it('replaces lone surrogates', () => {
    expect(printable('a\ud800')).toBe('a\ufffd');
  });
});

describe('a printable name', () => {
  it('is one line, whatever the name', () => {
    expect(printableName('a\nb\tc\u001b[31m\ud800')).toBe('a\\x0ab\\x09c\\x1b[31m\ufffd');
  });

  it('is truncated, but not within a character', () => {
    expect(printableName('x'.repeat(300))).toHaveLength(300);
    expect(printableName(`${'x'.repeat(299)}\u{1f600}`)).toBe(`${'x'.repeat(299)}\ufffd...`);
  });
});

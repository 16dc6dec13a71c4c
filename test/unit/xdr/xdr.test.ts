import { describe, expect, it } from '@jest/globals';
import { XdrDecoder, XdrError } from '../../../src/xdr/decoder.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { threadTime } from '../../fuzz/engine/clock.js';
import { long, opaque, text, textList, word } from '../../fakes/xdrBytes.js';

function hex(write: (encoder: XdrEncoder) => void): string {
  const encoder = new XdrEncoder();
  write(encoder);
  return encoder.finish().toString('hex');
}

function reading(...parts: readonly Buffer[]): XdrDecoder {
  return new XdrDecoder(Buffer.concat(parts));
}

describe('XdrEncoder', () => {
  it.each([
    ['a positive int', (encoder: XdrEncoder) => encoder.int(258), '00000102'],
    ['a negative int', (encoder: XdrEncoder) => encoder.int(-2), 'fffffffe'],
    ['the least int', (encoder: XdrEncoder) => encoder.int(-2147483648), '80000000'],
    ['an unsigned int', (encoder: XdrEncoder) => encoder.unsignedInt(0xfffffffe), 'fffffffe'],
    ['a negative int64', (encoder: XdrEncoder) => encoder.int64(-2n), 'fffffffffffffffe'],
    ['the greatest int64', (encoder: XdrEncoder) => encoder.int64(2n ** 63n - 1n), '7fffffffffffffff'],
    ['an unsigned int64', (encoder: XdrEncoder) => encoder.unsignedInt64(2n ** 64n - 1n), 'ffffffffffffffff'],
    ['true', (encoder: XdrEncoder) => encoder.bool(true), '00000001'],
    ['false', (encoder: XdrEncoder) => encoder.bool(false), '00000000'],
    ['an empty string', (encoder: XdrEncoder) => encoder.string(''), '00000000'],
    ['a string without padding', (encoder: XdrEncoder) => encoder.string('abcd'), '0000000461626364'],
    ['a string with padding', (encoder: XdrEncoder) => encoder.string('é'), '00000002c3a90000'],
    ['a name that is not UTF-8', (encoder: XdrEncoder) => encoder.string('/caf\uefe9'), '000000052f636166e9000000'],
    ['an optional string that is absent', (encoder: XdrEncoder) => encoder.optionalString(undefined), '00000000'],
    ['an optional string that is empty', (encoder: XdrEncoder) => encoder.optionalString(''), '0000000100000000'],
    ['an optional string', (encoder: XdrEncoder) => encoder.optionalString('a'), '000000010000000161000000'],
    ['an empty list', (encoder: XdrEncoder) => encoder.stringList([]), '00000000'],
    ['a list', (encoder: XdrEncoder) => encoder.stringList(['a', '']), '00000002000000016100000000000000'],
    ['an empty buffer', (encoder: XdrEncoder) => encoder.buffer(Buffer.alloc(0)), '00000000'],
    ['a buffer', (encoder: XdrEncoder) => encoder.buffer(Buffer.of(0, 255, 1)), '0000000300ff0100'],
  ])('writes %s', (_what, write, expected) => {
    expect(hex(write)).toBe(expected);
  });

  it('writes zeros as padding, for every length', () => {
    for (let length = 0; length <= 12; length += 1) {
      const bytes = Buffer.alloc(length, 0xff);
      expect(hex((encoder) => encoder.buffer(bytes))).toBe(opaque(bytes).toString('hex'));
    }
  });

  it.each([
    ['an int', (encoder: XdrEncoder) => encoder.int(2147483648)],
    ['an int below its least', (encoder: XdrEncoder) => encoder.int(-2147483649)],
    ['an unsigned int', (encoder: XdrEncoder) => encoder.unsignedInt(-1)],
    ['an int64', (encoder: XdrEncoder) => encoder.int64(2n ** 63n)],
    ['an unsigned int64', (encoder: XdrEncoder) => encoder.unsignedInt64(-1n)],
  ])('refuses %s out of range', (_what, write) => {
    expect(() => hex(write)).toThrow(/out of range/);
  });

  it('writes millions of values in little time', () => {
    const names = Array.from({ length: 2_000_000 }, () => '');
    const started = process.cpuUsage();
    const encoder = new XdrEncoder();
    encoder.stringList(names);
    expect(encoder.finish()).toHaveLength(4 + 4 * names.length);
    const { user, system } = process.cpuUsage(started);
    expect(user + system).toBeLessThan(2_000_000);
  });
});

describe('XdrDecoder', () => {
  it('reads values in order', () => {
    const decoder = reading(
      word(-2),
      word(0xfffffffe),
      long(-3n),
      long(-4n),
      word(1),
      word(0),
      opaque(Buffer.of(1, 2, 3)),
      text('é'),
      textList(['a', '', 'bc']),
    );
    expect(decoder.int()).toBe(-2);
    expect(decoder.unsignedInt()).toBe(0xfffffffe);
    expect(decoder.int64()).toBe(-3n);
    expect(decoder.unsignedInt64()).toBe(2n ** 64n - 4n);
    expect(decoder.bool()).toBe(true);
    expect(decoder.bool()).toBe(false);
    expect(decoder.buffer()).toEqual(Buffer.of(1, 2, 3));
    expect(decoder.string()).toBe('é');
    expect(decoder.stringList()).toEqual(['a', '', 'bc']);
    expect(decoder.remaining).toBe(0);
    decoder.finish();
  });

  it.each([2, -1, 256, 0x01000000])('refuses the boolean %d', (value) => {
    expect(() => reading(word(value)).bool()).toThrow(XdrError);
  });

  it.each([0, 1, 2, 3])('refuses an integer with %d bytes left', (length) => {
    expect(() => reading(Buffer.alloc(length)).int()).toThrow(XdrError);
    expect(() => reading(Buffer.alloc(length)).unsignedInt()).toThrow(XdrError);
    expect(() => reading(Buffer.alloc(length + 4)).int64()).toThrow(XdrError);
    expect(() => reading(Buffer.alloc(length + 4)).unsignedInt64()).toThrow(XdrError);
    expect(() => reading(Buffer.alloc(length)).percentage()).toThrow(XdrError);
  });

  it('refuses bytes that are left over', () => {
    const decoder = reading(word(1), Buffer.alloc(4));
    decoder.int();
    expect(() => decoder.finish()).toThrow('4 bytes too many');
  });

  it.each([
    ['longer than the message by a byte', Buffer.concat([word(5), Buffer.alloc(4)])],
    ['with a length that is negative', Buffer.concat([word(-1), Buffer.alloc(8)])],
    ['with the greatest positive length', Buffer.concat([word(0x7fffffff), Buffer.alloc(8)])],
    ['without its padding', Buffer.concat([word(3), Buffer.alloc(3)])],
    ['with a part of its padding', Buffer.concat([word(1), Buffer.alloc(3)])],
    ['with padding that is not zero', Buffer.concat([word(3), Buffer.of(1, 2, 3, 4)])],
    ['with the last byte of padding not zero', Buffer.concat([word(1), Buffer.of(1, 0, 0, 1)])],
    ['without a length', Buffer.alloc(2)],
  ])('refuses a buffer or string %s', (_what, bytes) => {
    expect(() => reading(bytes).buffer()).toThrow(XdrError);
    expect(() => reading(bytes).string()).toThrow(XdrError);
  });

  it('refuses a buffer or string over its limit, and takes one of it', () => {
    expect(reading(opaque(Buffer.alloc(32, 'x'))).string(32)).toHaveLength(32);
    expect(() => reading(opaque(Buffer.alloc(33, 'x'))).string(32)).toThrow('33 bytes where at most 32 are allowed');
    expect(() => reading(opaque(Buffer.alloc(33, 'x'))).buffer(32)).toThrow(XdrError);
  });

  it.each([
    ['alone', 'NUL', '\0'],
    ['first', 'NUL', '\0a'],
    ['last', 'NUL', 'a\0'],
    ['in the middle', 'NUL', 'a\0b'],
  ])('refuses a string with a NUL %s', (_where, _what, value) => {
    expect(() => reading(text(value)).string()).toThrow('NUL');
    expect(reading(text(value)).buffer()).toEqual(Buffer.from(value));
  });

  it('gives a buffer of its own: what came later does not change it', () => {
    const bytes = opaque(Buffer.from('abcd'));
    const value = reading(bytes).buffer();
    const message = Buffer.from(bytes);
    const kept = new XdrDecoder(message).buffer();
    message.fill(0xff);
    expect(kept).toEqual(value);
    expect(kept.toString()).toBe('abcd');
  });

  it.each([
    ['one more than the bytes left can hold', Buffer.concat([word(3), Buffer.alloc(8)])],
    ['the greatest number', Buffer.concat([word(0xffffffff), Buffer.alloc(8)])],
    ['one, in an empty message', word(1)],
    ['a negative number', Buffer.concat([word(0x80000000), Buffer.alloc(64)])],
  ])('refuses a list that claims elements: %s', (_what, bytes) => {
    const started = process.cpuUsage();
    expect(() => reading(bytes).stringList()).toThrow(/list of \d+ elements in \d+ bytes/);
    expect(() => reading(bytes).list((reader) => reader.int64())).toThrow(XdrError);
    expect(() => reading(bytes).hashtable()).toThrow(XdrError);
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
  });

  it('refuses a list whose count fits and whose elements do not', () => {
    expect(() => reading(word(2), Buffer.alloc(8)).list((reader) => reader.int64())).toThrow(XdrError);
    expect(() => reading(word(2), word(0), word(1)).stringList()).toThrow(XdrError);
  });

  it('reads a hashtable from keys and values that alternate', () => {
    expect([...reading(textList(['a', '1', '__proto__', '2', '', ''])).hashtable()]).toEqual([
      ['a', '1'],
      ['__proto__', '2'],
      ['', ''],
    ]);
  });

  it.each([1, 3, 5])('refuses a hashtable of %d strings', (count) => {
    expect(() => reading(textList(Array.from({ length: count }, () => 'x'))).hashtable()).toThrow('no value');
  });

  it.each([
    [0x64, 'd'],
    [0x7f, '\u007f'],
    [0xe9, '\uefe9'],
    [-23, '\uefe9'],
    [-128, '\uef80'],
    [255, '\uefff'],
    [0, '\0'],
  ])('reads the character %d, signed or not', (value, expected) => {
    expect(reading(word(value)).char()).toBe(expected);
  });

  it.each([256, -129, 0x7fffffff, -2147483648])('refuses the character %d', (value) => {
    expect(() => reading(word(value)).char()).toThrow(XdrError);
  });

  it('reads 32 bytes of UUID, which have no length word', () => {
    const uuid = 'viOGJdCNOQS0rEvAcgw4x35hH3m3iaNX';
    const decoder = reading(Buffer.from(uuid), word(7));
    expect(decoder.uuid()).toBe(uuid);
    expect(decoder.int()).toBe(7);
    expect(() => reading(Buffer.alloc(31)).uuid()).toThrow(XdrError);
  });

  it.each([
    ['0', '00000000', 0],
    ['-0', '80000000', -0],
    ['12.5', '41480000', 12.5],
    ['-1, which is none', 'bf800000', undefined],
    ['not a number, which is none', '7fc00000', undefined],
  ])('reads the percentage %s', (_what, bytes, expected) => {
    expect(reading(Buffer.from(bytes, 'hex')).percentage()).toBe(expected);
  });

  it.each([
    ['empty strings', '', (decoder: XdrDecoder) => decoder.stringList()],
    ['short strings', 'abcd', (decoder: XdrDecoder) => decoder.stringList()],
    ['whole numbers', '', (decoder: XdrDecoder) => decoder.list((reader) => reader.int())],
  ])('reads as many %s as fit in a message without keeping others waiting', (_what, value, read) => {
    const element = text(value);
    const count = Math.floor((4 << 20) / element.length);
    const bytes = Buffer.concat([word(count), Buffer.alloc(count * element.length, element)]);
    read(new XdrDecoder(bytes));
    const times = [1, 2, 3].map(() => {
      const started = threadTime();
      read(new XdrDecoder(bytes));
      return threadTime() - started;
    });
    // It takes 20 to 50 ms; it was 500 once.
    expect(Math.min(...times)).toBeLessThan(200);
  });

  it('refuses more buffers than any message has: each takes far longer than a string', () => {
    const buffers = (count: number): Buffer[] =>
      reading(word(count), Buffer.alloc(4 * count)).list((reader) => reader.buffer());
    expect(buffers(100_000)).toHaveLength(100_000);
    expect(() => buffers(100_001)).toThrow('more than 100000 values of opaque data');
  });
});

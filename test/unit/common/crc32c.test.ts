import { assert, nat, property, uint8Array } from 'fast-check';
import { describe, expect, it } from '@jest/globals';
import { crc32c } from '../../../src/common/crc32c.js';

/** Bit by bit, according to the definition. */
function slowly(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

describe('CRC-32C', () => {
  // The last four are the test vectors of RFC 3720, B.4.
  it.each([
    ['nothing', Buffer.alloc(0), 0],
    ['123456789', Buffer.from('123456789'), 0xe3069283],
    ['32 zeroes', Buffer.alloc(32), 0x8a9136aa],
    ['32 ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
    ['0 to 31', Buffer.from(Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e],
    ['31 to 0', Buffer.from(Array.from({ length: 32 }, (_, index) => 31 - index)), 0x113fdb5c],
  ])('of %s is as published', (_what, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });

  it('agrees with its definition, for any length and any pieces', () => {
    const bytes = uint8Array({ maxLength: 3000, size: 'max' });
    assert(
      property(bytes, nat(3000), (drawn, cut) => {
        const piece = Buffer.from(drawn);
        expect(crc32c(piece.subarray(cut), crc32c(piece.subarray(0, cut)))).toBe(slowly(piece));
      }),
      { numRuns: 200 },
    );
  });
});

import { describe, expect, it } from '@jest/globals';
import { MountServiceService } from '../../../gen/proto/guestfs/v1/mount.js';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { decodingSafely, FIELD_LIMIT, Undecodable } from '../../../src/server/decoding.js';

const decode = decodingSafely(MountServiceService)['mount']?.requestDeserialize as (bytes: Buffer) => unknown;
const field = (number: number, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.of((number << 3) | 2, bytes.length), bytes]);

describe('decoding of requests', () => {
  it('returns what was sent', () => {
    const bytes = Buffer.concat([field(1, Buffer.from('/dev/sda1')), field(2, Buffer.from('/'))]);
    expect(decode(bytes)).toEqual({ mountable: '/dev/sda1', mountpoint: '/' });
  });

  it('keeps a byte order mark', () => {
    expect(decode(field(1, Buffer.from('\ufeffx')))).toMatchObject({ mountable: '\ufeffx' });
  });

  it('refuses more fields than can be decoded at once', () => {
    const names = decodingSafely(FileServiceService)['lstatnslist']?.requestDeserialize as typeof decode;
    const of = (count: number): Buffer => Buffer.alloc(2 * count, Buffer.of((2 << 3) | 2, 0));
    expect(names(of(FIELD_LIMIT))).toMatchObject({ names: { length: FIELD_LIMIT } });
    expect(names(Buffer.concat([of(FIELD_LIMIT), field(1, Buffer.from('/'))]))).toBeInstanceOf(Undecodable);
    const result = names(of(4_000_000)) as Undecodable;
    expect(result.error).toMatchObject({ reason: 'BAD_ARGUMENT', message: expect.stringContaining('50000 fields') });
  });

  it.each([
    ['a string that is not UTF-8', field(1, Buffer.of(0xe9))],
    ['a message that ends early', Buffer.of(0x0a, 10, 65)],
    ['an unknown wire type', Buffer.of(0x0f)],
  ])('refuses %s', (_what, bytes) => {
    const result = decode(bytes);
    expect(result).toBeInstanceOf(Undecodable);
    expect((result as Undecodable).error.reason).toBe('BAD_ARGUMENT');
  });
});

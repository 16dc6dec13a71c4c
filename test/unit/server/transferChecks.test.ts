import { createHash, randomBytes } from 'node:crypto';
import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import { crc32c } from '../../../src/common/crc32c.js';
import { downloadCheck, uploadCheck } from '../../../src/server/transferChecks.js';
import type { FileArguments } from '../../../src/server/fileMessages.js';
import { failureOf, thrownBy } from '../../fakes/connected.js';
import { cut, pieces } from '../../fakes/files.js';

const FILE = randomBytes(100_000);
const sha256 = createHash('sha256').update(FILE).digest();
const OTHER = Buffer.from(FILE);
OTHER.writeUInt8(FILE.readUInt8(50_000) ^ 1, 50_000);

/** The output of an upload's check, and how it ends. */
async function checked(expected: FileArguments, file: Buffer): Promise<{ read: Buffer; error: unknown }> {
  const read: Buffer[] = [];
  let error: unknown;
  try {
    for await (const chunk of uploadCheck(expected)(pieces(...cut(file)))) read.push(chunk);
  } catch (thrown) {
    error = thrown;
  }
  return { read: Buffer.concat(read), error };
}

const mismatch = (check: string, expected: string, received: string) => ({
  reason: 'CHECKSUM_MISMATCH',
  message: expect.stringMatching(new RegExp(`^${check}: .*${expected}.*${received}`)) as unknown,
  details: { metadata: { check, expected, received } },
});

describe('the check of an upload', () => {
  it.each<[string, FileArguments]>([
    ['nothing', {}],
    ['the size', { exact_size: 100_000n }],
    ['SHA-256', { sha256 }],
    ['CRC-32C', { crc32c: crc32c(FILE) }],
    ['all', { exact_size: 100_000n, sha256, crc32c: crc32c(FILE), progress_hint: 3n }],
  ])('passes on a file whose %s is as expected', async (_what, expected) => {
    expect(await checked(expected, FILE)).toEqual({ read: FILE, error: undefined });
  });

  it('accepts an empty file', async () => {
    const empty = { exact_size: 0n, crc32c: 0, sha256: createHash('sha256').digest() };
    expect((await checked(empty, Buffer.alloc(0))).error).toBeUndefined();
    expect((await checked({ exact_size: 0n }, FILE)).error).toMatchObject(mismatch('exact_size', '0', '8192'));
  });

  it('does not touch the chunks if there are no expectations', () => {
    const chunks = pieces(FILE);
    expect(uploadCheck({ progress_hint: 7n })(chunks)).toBe(chunks);
  });

  it('fails at the end of a file that is too short', async () => {
    const { read, error } = await checked({ exact_size: 100_001n, sha256 }, FILE);
    expect(read).toEqual(FILE);
    expect(error).toMatchObject(mismatch('exact_size', '100001', '100000'));
  });

  it('fails as soon as a file is too long, and does not pass on the excess chunk', async () => {
    const { read, error } = await checked({ exact_size: 10_000n }, FILE);
    expect(read).toEqual(FILE.subarray(0, 8192));
    expect(error).toMatchObject(mismatch('exact_size', '10000', '16384'));
  });

  it('fails at the end of a file with another SHA-256', async () => {
    const { error } = await checked({ exact_size: 100_000n, sha256 }, OTHER);
    const received = createHash('sha256').update(OTHER).digest('hex');
    expect(error).toMatchObject(mismatch('sha256', sha256.toString('hex'), received));
  });

  it('fails at the end of a file with another CRC-32C, in eight digits', async () => {
    const { error } = await checked({ crc32c: 0xab }, OTHER);
    expect(error).toMatchObject(mismatch('crc32c', '000000ab', crc32c(OTHER).toString(16).padStart(8, '0')));
  });

  it('releases the source when its reader stops', async () => {
    const source = pieces(...cut(FILE));
    for await (const chunk of uploadCheck({ exact_size: 100_000n })(source)) {
      expect(chunk).toHaveLength(8192);
      break;
    }
    expect(await source.next()).toEqual({ done: true, value: undefined });
  });

  it('passes on the error of its source', async () => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield FILE;
      throw new Error('gone');
    }
    const reading = (async () => {
      for await (const chunk of uploadCheck({ sha256 })(failing())) expect(chunk).toBe(FILE);
    })();
    expect(await failureOf(reading)).toMatchObject({ message: 'gone' });
  });

  it.each<[string, FileArguments]>([
    ['exact_size', { exact_size: -1n }],
    ['sha256', { sha256: Buffer.alloc(31) }],
    ['sha256', { sha256: Buffer.alloc(0) }],
    ['sha256', { sha256: Buffer.from(sha256.toString('hex')) }],
  ])('refuses a malformed %s', (field, expected) => {
    expect(thrownBy(() => uploadCheck(expected))).toMatchObject({
      reason: 'BAD_ARGUMENT',
      details: { fields: [{ field }] },
    });
  });
});

describe('the check of a download', () => {
  const asking = (...values: string[]): Metadata => {
    const metadata = new Metadata();
    for (const value of values) metadata.add('guestfs-checksum', value);
    return metadata;
  };
  const size = { 'guestfs-size': '100000' };
  const sha = { 'guestfs-sha256': sha256.toString('hex') };
  const crc = { 'guestfs-crc32c': crc32c(FILE).toString(16).padStart(8, '0') };

  it('is not made unless requested', () => {
    expect(downloadCheck(new Metadata())).toBeUndefined();
  });

  it.each([
    [['sha256'], { ...size, ...sha }],
    [['crc32c'], { ...size, ...crc }],
    [['sha256,crc32c'], { ...size, ...sha, ...crc }],
    [[' crc32c , sha256 '], { ...size, ...sha, ...crc }],
    [['crc32c', 'sha256'], { ...size, ...sha, ...crc }],
  ])('requested by %j reports the requested values, and the size', (values, trailers) => {
    const check = downloadCheck(asking(...values));
    check?.add(cut(FILE.subarray(0, 50_000)));
    check?.add([FILE.subarray(50_000)]);
    expect(check?.trailers().getMap()).toEqual(trailers);
  });

  it('of an empty file', () => {
    expect(downloadCheck(asking('crc32c'))?.trailers().getMap()).toEqual({
      'guestfs-size': '0',
      'guestfs-crc32c': '00000000',
    });
  });

  it.each(['md5', '', 'sha256,', 'SHA256', 'sha256 crc32c'])("refuses '%s', and names the key", (value) => {
    expect(thrownBy(() => downloadCheck(asking(value)))).toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: expect.stringContaining('guestfs-checksum') as unknown,
      details: { fields: [{ field: 'guestfs-checksum' }] },
    });
  });
});

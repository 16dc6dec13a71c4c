/** Tar archives: what is in them, and which are refused. */
import { describe, expect, it } from '@jest/globals';
import { BadImageHeader } from '../../../src/images/badImageHeader.js';
import { bytesInMemory } from '../../../src/images/readFully.js';
import { tarMembers, type TarMember } from '../../../src/images/tarMembers.js';
import { paxRecord, tarArchive, tarEntry, TAR_END, type TarEntry } from '../../support/tarArchive.js';

const list = (archive: Buffer): Promise<readonly TarMember[]> =>
  tarMembers(bytesInMemory(archive), BigInt(archive.length));
const refusal = async (archive: Buffer): Promise<string> => {
  const error: unknown = await list(archive).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BadImageHeader);
  return (error as BadImageHeader).message;
};
const BASE_256 = Buffer.concat([Buffer.of(0x80), Buffer.alloc(9), Buffer.of(2, 88)]);

describe('a tar archive', () => {
  it('has files of the given sizes, where they are', async () => {
    expect(
      await list(
        tarArchive([
          { name: './a.ovf', content: 'text' },
          { name: 'directory/', type: '5' },
          { name: 'b', prefix: 'directory', content: Buffer.alloc(513) },
          { name: 'c', content: '' },
        ]),
      ),
    ).toEqual([
      { name: 'a.ovf', at: 512, size: 4 },
      { name: 'directory/b', at: 2048, size: 513 },
      { name: 'c', at: 3584, size: 0 },
    ]);
  });

  it('can have long names, large sizes, and no end', async () => {
    const name = 'n'.repeat(200);
    const archive = Buffer.concat([
      tarEntry({ name: '././@LongLink', type: 'L', content: `${name}\0` }),
      tarEntry({ name: 'n', content: 'x' }),
      tarEntry({
        name: 'pax',
        type: 'x',
        content: paxRecord('mtime', '1.5') + paxRecord('path', 'p') + paxRecord('size', '3'),
      }),
      tarEntry({ name: 'q', content: 'abc', size: '00000000000\0' }),
      tarEntry({ name: 'r', content: Buffer.alloc(600), size: BASE_256 }),
    ]);
    expect(await list(archive)).toEqual([
      { name, at: 1536, size: 1 },
      { name: 'p', at: 3584, size: 3 },
      { name: 'r', at: 4608, size: 600 },
    ]);
  });

  it.each<[string, readonly TarEntry[], RegExp]>([
    ['a file that is the directory itself', [{ name: './', content: 'x' }], /name is empty or too long/],
    ['a link', [{ name: 'a', type: '1' }], /neither a file nor a directory/],
    ['a symbolic link', [{ name: 'a', type: '2' }], /neither a file nor a directory/],
    ['a device', [{ name: 'a', type: '3' }], /neither a file nor a directory/],
    ['a sparse file of GNU', [{ name: 'a', type: 'S' }], /neither a file nor a directory/],
    ['a sparse file of pax', [{ name: 'x', type: 'x', content: paxRecord('GNU.sparse.size', '9') }], /sparse/],
    ['a name twice', [{ name: 'a' }, { name: './a' }], /two files named 'a'/],
    ['no name', [{ name: '' }], /name is empty/],
    ['the name of its directory', [{ name: './' }], /name is empty/],
    ['a size that is no number', [{ name: 'a', size: '0000000z000\0' }], /a number that is none/],
    ['a size below zero', [{ name: 'a', size: Buffer.alloc(12, 0xff) }], /a number that is none/],
    ['a size beyond any', [{ name: 'a', size: Buffer.concat([Buffer.of(0x80), Buffer.alloc(11, 0xff)]) }], /too large/],
    ['a file beyond the end', [{ name: 'a', size: '77777777777\0' }], /cut off/],
    ['a size of pax that is no number', [{ name: 'x', type: 'x', content: paxRecord('size', '-1') }], /that is none/],
    ['a record that is too long', [{ name: 'x', type: 'x', content: '99 size=1\n' }], /damaged records/],
    ['a record without an end', [{ name: 'x', type: 'x', content: '10 size=12' }], /damaged records/],
    ['a record of its length only', [{ name: 'x', type: 'x', content: '3 a=\n' }], /damaged records/],
    ['a size for all files', [{ name: 'g', type: 'g', content: paxRecord('size', '1') }], /all of its files/],
    ['long records', [{ name: 'x', type: 'x', content: Buffer.alloc(1 << 20, 'a') }], /1048576 bytes about another/],
    ['a long name', [{ name: 'l', type: 'L', content: Buffer.alloc(2000, 'a') }], /too long/],
    ['too many entries', Array.from({ length: 129 }, (_, index) => ({ name: String(index) })), /more than 128/],
  ])('is refused with %s', async (_what, entries, message) => {
    expect(await refusal(tarArchive(entries))).toMatch(message);
  });

  it('is refused with a header that is damaged, or cut off', async () => {
    const archive = Buffer.from(tarEntry({ name: 'a', content: 'x' }));
    for (const at of [0, 124, 148, 257]) {
      const damaged = Buffer.from(archive);
      damaged[at] = 0x39;
      expect(await refusal(Buffer.concat([damaged, TAR_END]))).toMatch(/damaged header at 0|a number that is none/);
    }
    expect(await refusal(archive.subarray(0, 700))).toMatch(/cut off/);
    expect(await refusal(archive.subarray(0, 100))).toMatch(/cut off/);
  });
});

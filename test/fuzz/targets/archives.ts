/** Tar archives, as an OVA is one. */
import { BadImageHeader } from '../../../src/images/badImageHeader.js';
import { bytesInMemory, windowOf, type ByteSource } from '../../../src/images/readFully.js';
import { tarMembers } from '../../../src/images/tarMembers.js';
import { paxRecord, tarArchive, tarEntry } from '../../support/tarArchive.js';
import { ensure, unlessRejected, type Target } from '../engine/target.js';

const BLOCK = 512;
const CHECKSUM_AT = 148;
/** 128 entries, each with a header and the longest records. */
const MOST_READ = 128 * (BLOCK + 16 * 1024);

/** The input with right checksums in all of its blocks, which no mutation would find. */
function withChecksums(input: Buffer): Buffer {
  const archive = Buffer.from(input);
  for (let at = 0; at + BLOCK <= archive.length; at += BLOCK) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.toString('latin1', 257, 262) !== 'ustar') continue;
    header.fill(' ', CHECKSUM_AT, CHECKSUM_AT + 8);
    let sum = 0;
    for (const byte of header) sum += byte;
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, CHECKSUM_AT);
  }
  return archive;
}

function counted(bytes: ByteSource): ByteSource {
  let total = 0;
  return {
    read: (buffer, offset, length, position) => {
      ensure(Number.isSafeInteger(position) && position >= 0, 'a read is nowhere');
      total += length;
      ensure(total <= MOST_READ, 'far more than headers is read');
      return bytes.read(buffer, offset, length, position);
    },
  };
}

export const archives: Target = {
  name: 'archives',
  about: 'tar archives, whose disks are attached where they are',
  longest: 8192,
  stretched: 1 << 20,
  seeds() {
    const pax = paxRecord('path', 'disk') + paxRecord('size', '5');
    return [
      tarArchive([
        { name: 'a.ovf', content: 'text' },
        { name: './b', prefix: 'c', content: 'disk' },
      ]),
      tarArchive([
        { name: 'd/', type: '5' },
        { name: 'x', type: 'x', content: pax },
        { name: 'e', content: 'bytes' },
      ]),
      tarArchive([
        { name: 'l', type: 'L', content: 'a-long-name\0' },
        { name: 'f', size: Buffer.concat([Buffer.of(0x80), Buffer.alloc(10), Buffer.of(4)]), content: 'disk' },
      ]),
      tarArchive([{ name: 'g', type: 'g', content: paxRecord('comment', 'x') }]),
      tarEntry({ name: 'link', type: '2' }),
    ];
  },
  async run(input) {
    const archive = withChecksums(input);
    const list = (): ReturnType<typeof tarMembers> =>
      tarMembers(counted(bytesInMemory(archive)), BigInt(archive.length));
    await unlessRejected([BadImageHeader], () => tarMembers(counted(bytesInMemory(input)), BigInt(input.length)));
    const members = await unlessRejected([BadImageHeader], list);
    if (members === undefined) return;
    let end = 0;
    for (const { name, at, size } of members) {
      ensure(name !== '' && !name.includes('\0'), 'a file has no name');
      ensure(at % BLOCK === 0 && at >= end + BLOCK && size >= 0, 'files overlap');
      end = at + size;
      ensure(end <= archive.length, 'a file ends after the archive');
      const { bytesRead } = await windowOf(bytesInMemory(archive), at, size).read(
        Buffer.alloc(size + 1),
        0,
        size + 1,
        0,
      );
      ensure(bytesRead === size, 'a file has another size');
    }
    ensure(new Set(members.map(({ name }) => name)).size === members.length, 'two files have one name');
  },
};

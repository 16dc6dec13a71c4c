import { describe, expect, it } from '@jest/globals';
import { explainBlockError } from '../../../src/images/blockErrors.js';
import { foreignReference } from '../../../src/images/foreignHeader.js';
import { bytesInMemory, type ByteSource } from '../../../src/images/readFully.js';
import { processorTime } from '../../support/loopTime.js';

const SECTOR = 512;
/** Far above linear time, and far below quadratic time. */
const LIMIT_MS = 250;

/** A VMDK with this text as its descriptor. */
function vmdk(descriptor: string): ByteSource {
  const image = Buffer.alloc(SECTOR + 64 * 1024, '\n');
  image.fill(0, 0, SECTOR);
  image.write('KDMV', 0, 'latin1');
  image.writeBigUInt64LE(2048n, 12);
  image.writeBigUInt64LE(1n, 28);
  image.write(descriptor, SECTOR, 'latin1');
  return bytesInMemory(image);
}

describe('the descriptor of a VMDK', () => {
  it.each([
    ['newlines', ''],
    ['blanks', ' '.repeat(20 * SECTOR)],
    ['words without a value', 'parentCID '.repeat(SECTOR)],
    ['words before blanks', `parentCID${' '.repeat(20 * SECTOR)}`],
  ])('of %s is read in linear time', async (_what, descriptor) => {
    const source = vmdk(descriptor);
    const started = process.cpuUsage();
    expect(await foreignReference(source, 'vmdk')).toBeUndefined();
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1000).toBeLessThan(LIMIT_MS);
  });

  it.each([
    ['a parent ID', 'CID=1\nparentCID=abcdef01\n'],
    ['a parent ID in other letters', '  PARENTCID = ABCDEF01\n'],
    ['a second parent ID', 'parentCID=ffffffff\nparentCID=1\n'],
    ['a parent ID in the middle of a line, where qemu finds it as well', 'x parentCID=12\n'],
    ['the name of a parent', 'parentCID=ffffffff\nparentFileNameHint="/etc/passwd"\n'],
  ])('has a backing file by %s', async (_what, descriptor) => {
    expect(await foreignReference(vmdk(descriptor), 'vmdk')).toBe('backing file');
  });

  it('has none without', async () => {
    expect(await foreignReference(vmdk('CID=1\nparentCID=ffffffff\n'), 'vmdk')).toBeUndefined();
    expect(await foreignReference(vmdk('CID=1\nparentCID=FFFFFFFF\n'), 'vmdk')).toBeUndefined();
  });
});

describe("qemu's message", () => {
  it.each([
    ['names of qemu', 'qemu'.repeat(16_384)],
    ['braces', `qemu: -blockdev {${'}'.repeat(65_536)}`],
  ])('with many %s is explained in linear time', (_what, text) => {
    const subjects = new Map([['/dev/fdset/1', 'image']]);
    expect(processorTime(() => explainBlockError(`${text} /dev/fdset/1`, subjects))).toBeLessThan(LIMIT_MS);
  });
});

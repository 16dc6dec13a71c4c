import { execFileSync } from 'node:child_process';

import { describe, expect, it } from '@jest/globals';

import { decompressKernel, findPayload, hasPvhEntry } from '../../appliance-builder/bzImage.js';
import { quiet } from './context.js';

/** An ELF file with one note segment. */
function elfWithNote(name: string, type: number): Buffer {
  const note = Buffer.alloc(24);
  note.writeUInt32LE(name.length + 1, 0);
  note.writeUInt32LE(8, 4);
  note.writeUInt32LE(type, 8);
  note.write(name, 12, 'latin1');
  const elf = Buffer.alloc(64 + 56);
  elf.write('\x7fELF\x02', 0, 'latin1');
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(4, 64);
  elf.writeBigUInt64LE(BigInt(elf.length), 64 + 8);
  elf.writeBigUInt64LE(BigInt(note.length), 64 + 32);
  return Buffer.concat([elf, note]);
}

/** A bzImage around a payload that starts 16 bytes after the set-up code. */
function bzImage(payload: Buffer, protocol = 0x20f): Buffer {
  const setup = Buffer.alloc(3 * 512 + 16);
  setup.writeUInt8(2, 0x1f1);
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt16LE(protocol, 0x206);
  setup.writeUInt32LE(16, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, payload, Buffer.from('what follows')]);
}

function withPlainSize(compressed: Buffer, plain: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(plain.length);
  return Buffer.concat([compressed, size]);
}

describe('hasPvhEntry', () => {
  it('finds the entry point among the notes', () => {
    expect(hasPvhEntry(elfWithNote('Xen', 18))).toBe(true);
  });

  it.each([
    ['another note of Xen', elfWithNote('Xen', 8)],
    ['a note of another vendor with the same number', elfWithNote('GNU', 18)],
    ['a file that is not ELF', Buffer.alloc(200)],
    ['a file that ends in its header', elfWithNote('Xen', 18).subarray(0, 80)],
  ])('is not misled by %s', (_what, file) => {
    expect(hasPvhEntry(file)).toBe(false);
  });
});

describe('findPayload', () => {
  it('reads the location from the header', () => {
    expect(findPayload(bzImage(Buffer.alloc(100)))).toEqual({ offset: 3 * 512 + 16, length: 100 });
  });

  it('ignores headers before version 2.08, other files, and truncated ones', () => {
    expect(findPayload(bzImage(Buffer.alloc(100), 0x207))).toBeUndefined();
    expect(findPayload(Buffer.alloc(4096))).toBeUndefined();
    expect(findPayload(bzImage(Buffer.alloc(100)).subarray(0, 1600))).toBeUndefined();
  });
});

describe('decompressKernel', () => {
  const kernel = elfWithNote('Xen', 18);

  it.each([
    ['zstd', ['--stdout', '--quiet']],
    ['xz', ['--stdout', '--check=crc32']],
  ])('undoes %s', async (program, args) => {
    const compressed = execFileSync(program, args, { input: kernel });
    const result = await decompressKernel(quiet(), bzImage(withPlainSize(compressed, kernel)));
    expect(result?.equals(kernel)).toBe(true);
  });

  it('decompresses gzip, whose format ends with the size', async () => {
    const compressed = execFileSync('gzip', ['--stdout'], { input: kernel });
    expect((await decompressKernel(quiet(), bzImage(compressed)))?.equals(kernel)).toBe(true);
  });

  it('leaves a kernel without an entry point for qemu unchanged', async () => {
    const plain = elfWithNote('Xen', 8);
    const compressed = execFileSync('xz', ['--stdout', '--check=crc32'], { input: plain });
    expect(await decompressKernel(quiet(), bzImage(withPlainSize(compressed, plain)))).toBeUndefined();
  });

  it('detects a kernel of the wrong size', async () => {
    const compressed = execFileSync('xz', ['--stdout', '--check=crc32'], { input: kernel });
    const image = bzImage(withPlainSize(compressed, kernel.subarray(1)));
    await expect(decompressKernel(quiet(), image)).rejects.toThrow(/decompresses to 144 bytes and says 143/);
  });
});

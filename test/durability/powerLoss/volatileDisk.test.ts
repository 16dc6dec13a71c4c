/** What a loss of power may leave on the disk of the tests. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Random } from '../../fuzz/engine/random.js';
import { VolatileDisk, type Loss } from './volatileDisk.js';

const SECTOR = 4096;
const sectors = (letter: string, count = 1): Buffer => Buffer.alloc(SECTOR * count, letter);

describe('a disk with a volatile cache', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'disk-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** The first byte of each of the first sectors, as text; a dot for zero. */
  const left = (disk: VolatileDisk, position: number, loss: Loss, seed = 1): string => {
    const path = join(directory, 'image');
    disk.writeImage(path, position, loss, new Random(seed));
    const content = readFileSync(path);
    expect(content).toHaveLength(disk.size);
    return Array.from({ length: 4 }, (_, index) => content.toString('latin1', index * SECTOR, index * SECTOR + 1))
      .join('')
      .replaceAll('\0', '.');
  };

  it('keeps what was flushed or written durably, and loses what was not', () => {
    const disk = new VolatileDisk(200_000);
    disk.write(0, sectors('a'), false);
    disk.flush();
    disk.write(SECTOR, sectors('b'), false);
    disk.write(2 * SECTOR, sectors('c'), true);
    expect(disk.position).toBe(4);
    expect(disk.read(SECTOR, 1).toString()).toBe('b');
    expect(left(disk, 4, 'all')).toBe('a.c.');
    expect(left(disk, 4, 'none')).toBe('abc.');
    expect(left(disk, 3, 'none')).toBe('ab..');
    expect(left(disk, 1, 'all')).toBe('....');
    expect([1, 2, 3, 4].map((position) => disk.unflushedAt(position))).toEqual([1, 0, 1, 1]);
  });

  it('loses any of several writes, or parts of them', () => {
    const disk = new VolatileDisk(200_000);
    disk.write(0, sectors('a', 2), false);
    disk.write(2 * SECTOR, sectors('b', 2), false);
    const seen = new Set(Array.from({ length: 300 }, (_, seed) => left(disk, 2, 'random', seed)));
    expect([...seen].sort()).toEqual(
      ['..', '.a', 'a.', 'aa'].flatMap((one) => ['..', '.b', 'b.', 'bb'].map((other) => one + other)).sort(),
    );
  });

  it('does not tear a sector', () => {
    const disk = new VolatileDisk(200_000);
    // The end of one sector, all of the next, and the beginning of a third.
    disk.write(SECTOR / 2, sectors('a', 2), false);
    const image = join(directory, 'image');
    const seen = new Set<string>();
    for (let seed = 0; seed < 300; seed += 1) {
      disk.writeImage(image, 1, 'random', new Random(seed));
      const content = readFileSync(image).subarray(SECTOR / 2, SECTOR / 2 + 2 * SECTOR);
      const parts = [
        content.subarray(0, SECTOR / 2),
        content.subarray(SECTOR / 2, -SECTOR / 2),
        content.subarray(-SECTOR / 2),
      ];
      expect(parts.every((part) => new Set(part).size === 1)).toBe(true);
      seen.add(parts.map((part) => (part[0] === 0 ? '.' : 'a')).join(''));
    }
    expect(seen.size).toBe(8);
  });
});

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { emptyFilesArchive } from '../../../bench/namesArchive.js';

/** tar's listing of an archive of empty files. */
async function listed(names: readonly string[]): Promise<string[]> {
  const pieces: Buffer[] = [];
  for await (const piece of emptyFilesArchive(names)) pieces.push(piece);
  const { stdout, stderr, status } = spawnSync('tar', ['-t', '-v', '-f', '-'], {
    input: Buffer.concat(pieces),
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
  return stdout.split('\n').slice(0, -1);
}

describe('emptyFilesArchive', () => {
  it.each([0, 1, 256, 600])('creates an archive of %d files that tar can read', async (count) => {
    const names = Array.from({ length: count }, (_, index) => `tree/${index % 7}/name-${index}`);
    const lines = await listed(names);
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(names);
    expect(lines.every((line) => /^-rw-r--r-- 0\/0 +0 /.test(line))).toBe(true);
  });

  it('fails with the error of the names', async () => {
    function* failing(): Generator<string> {
      yield 'name';
      throw new Error('no more names');
    }
    const reading = (async () => {
      for await (const piece of emptyFilesArchive(failing())) expect(piece).toBeInstanceOf(Buffer);
    })();
    await expect(reading).rejects.toThrow('no more names');
  });
});

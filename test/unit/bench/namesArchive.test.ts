import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { emptyFilesArchive } from '../../../bench/namesArchive.js';

describe('emptyFilesArchive', () => {
  it.each([0, 1, 256, 600])('makes an archive of %d files that tar reads', (count) => {
    const names = Array.from({ length: count }, (_, index) => `tree/${index % 7}/name-${index}`);
    const { stdout, stderr, status } = spawnSync('tar', ['-t', '-v', '-f', '-'], {
      input: Buffer.concat([...emptyFilesArchive(names)]),
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n').slice(0, -1);
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(names);
    expect(lines.every((line) => /^-rw-r--r-- 0\/0 +0 /.test(line))).toBe(true);
  });

  it('refuses a name that no header holds', () => {
    expect(() => [...emptyFilesArchive(['x'.repeat(101)])]).toThrow(/too long/);
  });
});

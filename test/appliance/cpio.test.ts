import { execFileSync } from 'node:child_process';

import { describe, expect, it } from '@jest/globals';

import { packCpio } from '../../appliance-builder/cpio.js';

describe('packCpio', () => {
  const archive = packCpio([
    { path: 'bin', mode: 0o755 },
    { path: 'bin/tool', mode: 0o755, content: Buffer.from('12345') },
    { path: 'empty', mode: 0o600, content: Buffer.alloc(0) },
    { path: 'odd-name', mode: 0o644, content: Buffer.from('\0\x01\x02') },
  ]);

  it('can be read by cpio', () => {
    const listing = execFileSync('cpio', ['--list', '--verbose', '--numeric-uid-gid', '--quiet'], {
      input: archive,
      encoding: 'utf8',
    });
    const entries = listing
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s+/))
      .map((fields) => [fields[0], fields[2], fields[3], fields[4], fields.at(-1)].join(' '));
    expect(entries).toEqual([
      'drwxr-xr-x 0 0 0 bin',
      '-rwxr-xr-x 0 0 5 bin/tool',
      '-rw------- 0 0 0 empty',
      '-rw-r--r-- 0 0 3 odd-name',
    ]);
  });

  it('keeps contents', () => {
    const content = execFileSync('cpio', ['--extract', '--to-stdout', '--quiet', 'bin/tool'], { input: archive });
    expect(content.toString()).toBe('12345');
  });

  it('ends at a multiple of four bytes, as the kernel requires', () => {
    expect(archive.length % 4).toBe(0);
  });
});

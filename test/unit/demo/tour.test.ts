/** Parts of the tour, without a server. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sha256Of, writeNoise } from '../../../demo/guest/noise.js';
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { bar, bytes, harmless, seconds } from '../../../demo/terminal/format.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tour-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('format', () => {
  it('shows sizes, times and parts', () => {
    expect([bytes(0), bytes(1536), bytes(1n << 30n)]).toEqual(['0 bytes', '1.5 KiB', '1 GiB']);
    expect([seconds(1234), seconds(61_000)]).toEqual(['1.23 s', '61.0 s']);
    expect([bar(0.5, 4), bar(-1, 2), bar(7, 2)]).toEqual(['██░░', '░░', '██']);
  });

  it('removes control sequences from untrusted text', () => {
    expect(harmless('\u001b[31mred\u0007\u009b')).toBe('red  ');
  });
});

describe('the program in the guest', () => {
  (platform() === 'linux' && arch() === 'x64' ? it : it.skip)('runs, and exits with 0', () => {
    const path = join(directory, 'program');
    writeFileSync(path, tinyProgram(), { mode: 0o755 });
    expect(() => execFileSync(path)).not.toThrow();
  });
});

describe('noise', () => {
  it('is the same every time, and has the stated checksum', async () => {
    const [one, other] = [join(directory, 'one'), join(directory, 'other')];
    const sum = await writeNoise(one, 2);
    expect(await writeNoise(other, 2)).toBe(sum);
    expect(await sha256Of(one)).toBe(sum);
    expect(createHash('sha256').update(readFileSync(other)).digest('hex')).toBe(sum);
  });
});

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { Descriptors } from '../../../src/common/descriptors.js';
import { thrownBy } from '../../fakes/connected.js';

describe('descriptors', () => {
  it('are refused before they run out, and claims count', () => {
    let inUse = 100;
    const descriptors = new Descriptors(256, () => inUse);
    const release = descriptors.claim(60);
    expect(thrownBy(() => descriptors.claim(40))).toMatchObject({
      reason: 'LIMIT_EXCEEDED',
      details: { metadata: { limit: 'file-descriptors', maximum: '256' }, retryAfterMs: expect.any(Number) },
    });
    descriptors.claim(30)();
    release();
    release();
    descriptors.claim(92)();
    expect(() => descriptors.claim(93)).toThrow('too few free file descriptors');
    inUse = 20;
    descriptors.claim(172)();
  });

  it('are divided between sessions and connections', () => {
    const connections = (limit: number): number => new Descriptors(limit, () => 0).connections(1024);
    expect([1 << 20, Infinity, 1024, 256, 64].map(connections)).toEqual([1024, 1024, 480, 96, 1]);
  });

  it('are released when the work is done, however it ends', async () => {
    const descriptors = new Descriptors(100, () => 0);
    await expect(
      descriptors.while(30, async () => {
        throw new Error('failed');
      }),
    ).rejects.toThrow('failed');
    expect(await descriptors.while(30, async () => 'done')).toBe('done');
  });
});

it('a program that cannot be started for lack of descriptors only makes its call fail', async () => {
  const program = fileURLToPath(new URL('../../fakes/fewDescriptors.js', import.meta.url));
  const { stdout } = await promisify(execFile)('prlimit', ['--nofile=128:128', process.execPath, program]);
  const lines = stdout.trim().split('\n');
  expect(lines).toHaveLength(3 * 100);
  const refused = lines.filter((line) => line.endsWith('LIMIT_EXCEEDED'));
  expect(refused.length).toBeGreaterThan(200);
  expect(lines.filter((line) => !refused.includes(line)).every((line) => line.endsWith('started'))).toBe(true);
});

it('so does one that the system itself refuses to start', async () => {
  const program = fileURLToPath(new URL('../../fakes/fewDescriptors.js', import.meta.url));
  const { stdout } = await promisify(execFile)('prlimit', ['--nofile=128:128', process.execPath, program, 'unchecked']);
  const lines = stdout.trim().split('\n');
  expect(lines).toHaveLength(3 * 20);
  expect(lines.some((line) => line.endsWith('LIMIT_EXCEEDED'))).toBe(true);
  expect(lines.every((line) => /(started|LIMIT_EXCEEDED)$/.test(line))).toBe(true);
});

/** The differential test's own parts. */
import { describe, expect, it } from '@jest/globals';
import { agree } from '../../differential/differences.js';
import { btrfs } from '../../differential/domains/btrfs.js';
import { disks } from '../../differential/domains/disks.js';
import { make } from '../../differential/domains/domain.js';
import { files } from '../../differential/domains/files.js';
import { Random } from '../../differential/random.js';
import { shrink } from '../../differential/shrink.js';

describe('a failing sequence', () => {
  const items = Array.from({ length: 40 }, (_, index) => index);

  it('shrinks to what it needs', async () => {
    expect(await shrink(items, async (fewer) => [3, 17, 39].every((one) => fewer.includes(one)), 1000)).toEqual([3, 17, 39]);
    expect(await shrink(items, async (fewer) => fewer.includes(20), 1000)).toEqual([20]);
  });

  it('stays when it needs all of it', async () => {
    expect(await shrink([1, 2, 3], async () => false, 1000)).toEqual([1, 2, 3]);
  });

  it('is tried so often at most', async () => {
    let tries = 0;
    await shrink(items, async () => {
      tries += 1;
      return false;
    }, 5);
    expect(tries).toBe(5);
  });
});

describe('random calls', () => {
  it.each([files, disks, btrfs].map((domain) => [domain.name, domain] as const))('of %s are the same for the same seed, and are calls of actions', (_name, domain) => {
    const calls = (seed: number): string => {
      const random = new Random(seed);
      return JSON.stringify(Array.from({ length: 2000 }, () => domain.call(random)));
    };
    expect(calls(1)).toBe(calls(1));
    expect(calls(1)).not.toBe(calls(2));
  });
});

describe('outcomes', () => {
  const call = make('mkdir', { path: '/x' });

  it.each([
    ['values', { value: '1' }, { value: '2' }],
    ['a value and an error', { value: '' }, { errno: 'EEXIST', message: 'mkdir: /x: File exists' }],
    ['errnos', { errno: 'ENOENT', message: '/x: text' }, { errno: 'EEXIST', message: 'mkdir: /x: text' }],
    ['texts', { errno: 'EEXIST', message: '/x: one' }, { errno: 'EEXIST', message: 'mkdir: /x: other' }],
    ['an argument that only one refuses', { errno: 'BAD_ARGUMENT', message: 'no' }, { value: '' }],
  ])('differ by %s', (_what, ours, theirs) => {
    expect(agree(call, ours, theirs)).toBe(false);
  });

  it.each([
    ['the library begins its texts with the action', { errno: 'EEXIST', message: '/x: File exists' }, { errno: 'EEXIST', message: 'mkdir: do_mkdir: /x: File exists' }],
    ['UUIDs', { value: '11111111-2222-3333-4444-555555555555' }, { value: '66666666-2222-3333-4444-555555555555' }],
    ['times', { value: { st_mtime_sec: '1', st_size: '5' } }, { value: { st_mtime_sec: '2', st_size: '5' } }],
  ])('agree, but for what nobody can foresee: %s', (_what, ours, theirs) => {
    expect(agree(call, ours, theirs)).toBe(true);
  });
});

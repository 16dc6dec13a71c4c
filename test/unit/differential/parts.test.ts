/** Parts of the differential test. */
import { describe, expect, it } from '@jest/globals';
import { agree } from '../../differential/differences.js';
import { btrfs } from '../../differential/domains/btrfs.js';
import { disks } from '../../differential/domains/disks.js';
import { make, type Domain } from '../../differential/domains/domain.js';
import { ACTION_COUNT, common, everyAction, leftOut } from '../../differential/domains/everyAction.js';
import { files } from '../../differential/domains/files.js';
import { handle } from '../../differential/domains/handle.js';
import { samples, type Random } from '../../differential/random.js';
import { shrink } from '../../differential/shrink.js';

describe('a failing sequence', () => {
  const items = Array.from({ length: 40 }, (_, index) => index);

  it('shrinks to what it needs', async () => {
    expect(await shrink(items, async (fewer) => [3, 17, 39].every((one) => fewer.includes(one)), 1000)).toEqual([
      3, 17, 39,
    ]);
    expect(await shrink(items, async (fewer) => fewer.includes(39), 1000)).toEqual([39]);
  });

  it('stays when it needs all of it', async () => {
    expect(await shrink([1, 2, 3], async (fewer) => fewer.length === 3, 1000)).toEqual([1, 2, 3]);
  });

  it('stays when it does not fail again', async () => {
    expect(await shrink([1, 2, 3], async () => false, 1000)).toEqual([1, 2, 3]);
  });

  it('is tried a limited number of times', async () => {
    let tries = 0;
    await shrink(
      items,
      async (fewer) => {
        tries += 1;
        return fewer.includes(38);
      },
      5,
    );
    expect(tries).toBe(5);
  });
});

describe('random choices', () => {
  const DRAWN = 10_000;
  /** The share of times that something is chosen. */
  const rate = (choose: (random: Random) => boolean): number =>
    samples(choose, 1, DRAWN).filter((chosen) => chosen).length / DRAWN;

  it.each([0.1, 0.33, 0.5, 0.85])('occur with the probability %d', (probability) => {
    expect(rate((random) => random.chance(probability))).toBeCloseTo(probability, 1);
    const inOne = samples((random) => Array.from({ length: 100 }, () => random.chance(probability)), 1, 100).flat();
    expect(inOne.filter((chosen) => chosen).length / inOne.length).toBeCloseTo(probability, 1);
  });

  it('are certain where they must be', () => {
    expect([rate((random) => random.chance(0)), rate((random) => random.chance(1))]).toEqual([0, 1]);
  });

  it('have all integers of a range equally often', () => {
    for (const number of [0, 1, 9]) expect(rate((random) => random.integer(0, 9) === number)).toBeCloseTo(0.1, 1);
  });
});

describe('random calls', () => {
  it.each([
    ['files', () => files],
    ['disks', () => disks],
    ['Btrfs', () => btrfs],
    ['every action', everyAction],
    ['handles', () => handle],
  ] as const)('of %s are the same for the same seed, and are calls of actions', (_name, open) => {
    const calls = (seed: number): string => {
      const domain = open();
      return JSON.stringify(samples((random) => domain.call(random), seed, 2000));
    };
    expect(calls(1)).toBe(calls(1));
    expect(calls(1)).not.toBe(calls(2));
  });
});

describe('all actions that both sides have', () => {
  const namesOf = (domain: Domain, count: number): Set<string> => {
    return new Set(samples((random) => domain.call(random).name, 1, count));
  };

  it('are called, or left out for a reason', () => {
    const called = new Set([...namesOf(everyAction(), ACTION_COUNT), ...namesOf(handle, 20_000)]);
    expect(common.map(({ name }) => name).filter((name) => !called.has(name) && !leftOut.has(name))).toEqual([]);
    expect([...leftOut].filter((name) => !common.some((action) => action.name === name))).toEqual([]);
  });

  it('are called once before any is called again', () => {
    expect(namesOf(everyAction(), ACTION_COUNT).size).toBe(ACTION_COUNT);
  });
});

describe('outcomes', () => {
  const call = make('mkdir', { path: '/x' });

  it.each([
    ['values', { value: '1' }, { value: '2' }],
    ['a value and an error', { value: '' }, { errno: 'EEXIST', message: 'mkdir: /x: File exists' }],
    ['errnos', { errno: 'ENOENT', message: '/x: text' }, { errno: 'EEXIST', message: 'mkdir: /x: text' }],
    ['texts', { errno: 'EEXIST', message: '/x: one' }, { errno: 'EEXIST', message: 'mkdir: /x: other' }],
    ['checksums', { value: 'd41d8cd98f00b204e9800998ecf8427e' }, { value: 'b1946ac92492d2347c6235b4d2611184' }],
    [
      'UUIDs of types',
      { value: 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B' },
      { value: '0FC63DAF-8483-4772-8E79-3D69D8477DE4' },
    ],
    [
      'what is wrong with an argument',
      { errno: 'BAD_ARGUMENT', message: 'guid: parameter is not a valid GUID' },
      { errno: 'DAEMON_ERROR', message: 'mkdir: path: is no path' },
    ],
    ['an argument that only one refuses', { errno: 'BAD_ARGUMENT', message: 'no' }, { value: '' }],
  ])('differ by %s', (_what, ours, theirs) => {
    expect(agree(call, ours, theirs)).toBe(false);
  });

  it.each([
    [
      'the library begins its texts with the action',
      { errno: 'EEXIST', message: '/x: File exists' },
      { errno: 'EEXIST', message: 'mkdir: do_mkdir: /x: File exists' },
    ],
    ['UUIDs', { value: '22222222-2222-3333-4444-555555555555' }, { value: '66666666-2222-3333-4444-555555555555' }],
    [
      'how long dd took',
      { errno: 'DAEMON_ERROR', message: '10485760 bytes (10 MB, 10 MiB) copied, 0.190218 s, 55.1 MB/s' },
      { errno: 'DAEMON_ERROR', message: 'dd: 10485760 bytes (10 MB, 10 MiB) copied, 1.2e-05 s, 1.0 kB/s' },
    ],
    [
      'whether the daemon or its program fails first',
      { errno: 'DAEMON_ERROR', message: 'write error on file: /x' },
      { errno: 'DAEMON_ERROR', message: 'base64_in: base64 subcommand failed on file: /x' },
    ],
    [
      'a label that another drive has',
      { errno: 'EEXIST', message: 'add_drive_scratch: the label x is already in use by another drive' },
      { value: '' },
      make('add_drive_scratch', { size: 512, label: 'x' }),
    ],
    [
      'drives that only the library takes',
      { value: ['<images>/a label=x', '<images>/b label=y', '<images>/c'] },
      { value: ['<images>/a label=x', '<images>/b label=y', '<images>/b label=x', '<images>/directory', '<images>/c'] },
      make('debug_drives'),
    ],
    ['times', { value: { st_mtime_sec: '1', st_size: '5' } }, { value: { st_mtime_sec: '2', st_size: '5' } }],
  ])('agree, apart from permitted differences: %s', (_what, ours, theirs, asked = call) => {
    expect(agree(asked, ours, theirs)).toBe(true);
  });
});

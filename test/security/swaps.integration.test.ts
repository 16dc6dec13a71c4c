/**
 * Files that change while a call examines them: links, directories and files in the client's directory are swapped as
 * fast as possible, and every call that takes a file either uses one of the client's own, or is refused.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { DOORS, leakedPaths, outcomeOf } from './doors.js';
import { groundForTests, SETTINGS } from './grounds.js';
import type { Place } from './place.js';

/** How often each door is tried with each swap. */
const ROUNDS = 12;

interface Swap {
  readonly name: string;
  /** Prepares two entries that take turns in one place; returns them, the place, and the path to use. */
  readonly make: (place: Place) => {
    readonly turns: readonly [string, string];
    readonly place: string;
    readonly path: string;
  };
}

let made = 0;
/** Two entries of the client's directory that a swap puts in one place. */
function entries({ root }: Place): {
  readonly good: string;
  readonly bad: string;
  readonly place: string;
  readonly name: string;
} {
  const name = `swapped${made++}`;
  return { good: join(root, `${name}-good`), bad: join(root, `${name}-bad`), place: join(root, name), name };
}

const OWN = 'own'.padEnd(8192, ' ');

const SWAPS: readonly Swap[] = [
  {
    name: 'a file, and a link to a file outside',
    make: (place) => {
      const { good, bad, place: at, name } = entries(place);
      writeFileSync(good, OWN);
      symlinkSync(place.raw, bad);
      return { turns: [good, bad], place: at, path: name };
    },
  },
  {
    name: "a link to one of the client's own files, and one to a file outside",
    make: (place) => {
      const { good, bad, place: at, name } = entries(place);
      symlinkSync(place.own(`${name}.img`, OWN), good);
      symlinkSync(place.raw, bad);
      return { turns: [good, bad], place: at, path: name };
    },
  },
  {
    name: 'a directory, and a link to a directory outside',
    make: (place) => {
      const { good, bad, place: at, name } = entries(place);
      mkdirSync(good);
      writeFileSync(join(good, basename(place.raw)), OWN);
      symlinkSync(place.outside, bad);
      return { turns: [good, bad], place: at, path: `${name}/${basename(place.raw)}` };
    },
  },
  {
    name: 'a directory, and a link to a directory outside, for a new file',
    make: (place) => {
      const { good, bad, place: at, name } = entries(place);
      mkdirSync(good);
      symlinkSync(place.directory, bad);
      return { turns: [good, bad], place: at, path: `${name}/new.img` };
    },
  },
  {
    name: 'a directory in a directory, and a link from there to the root directory',
    make: (place) => {
      const { good, bad, place: at, name } = entries(place);
      mkdirSync(join(good, place.outside), { recursive: true });
      writeFileSync(join(good, place.raw), OWN);
      symlinkSync('/', bad);
      return { turns: [good, bad], place: at, path: `${name}${place.raw}` };
    },
  },
  {
    name: 'a file, and a directory',
    make: (place) => {
      const { good, bad, place: at, name } = entries(place);
      writeFileSync(good, OWN);
      mkdirSync(bad);
      return { turns: [good, bad], place: at, path: name };
    },
  },
];

/** Swaps in a separate thread until it is stopped. */
const SWAPPER = `
const { renameSync, rmSync } = require('node:fs');
const { parentPort, workerData: { turns, place, flag } } = require('node:worker_threads');
const running = new Int32Array(flag);
let count = 0;
while (Atomics.load(running, 0) === 1) {
  for (const turn of turns) {
    try {
      renameSync(turn, place);
    } catch {
      // A call has created a new file in the place.
      rmSync(place, { recursive: true, force: true });
      renameSync(turn, place);
    }
    renameSync(place, turn);
    count += 1;
  }
}
parentPort.postMessage(count);
`;

/** Runs `work` while two entries take turns; returns the number of swaps. */
async function whileSwapping(
  data: { turns: readonly string[]; place: string },
  work: () => Promise<void>,
): Promise<number> {
  const flag = new SharedArrayBuffer(4);
  const running = new Int32Array(flag);
  running[0] = 1;
  const worker = new Worker(SWAPPER, { eval: true, workerData: { ...data, flag } });
  const count = new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  try {
    await work();
  } finally {
    Atomics.store(running, 0, 0);
  }
  return count;
}

/**
 * Outcomes that are allowed: the client's own file, or a refusal because there is none, it is outside, or it was replaced
 * while it was attached.
 */
const MAY_END = [
  ...['answered', 'OUTSIDE_IMAGE_ROOTS', 'IMAGE_MISSING', 'IMAGE_UNUSABLE', 'EEXIST', 'IMAGE_LOCKED'],
  'IMAGE_CHANGED',
];

describeWithAppliance('files that are swapped while they are checked', () => {
  describe.each(SETTINGS.filter(({ identities, flags }) => identities || flags.length === 0))('on $name', (setting) => {
    const ground = groundForTests(setting);
    // The other doors launch a machine for each success; hot-plugged drives use the same code.
    const doors = DOORS.filter(({ kind, name }) => kind !== 'attach' || name.startsWith('hot'));

    it.each(SWAPS)('$name', async ({ make }) => {
      const { place, visitor } = ground();
      const { turns, place: at, path } = make(place);
      const wrong: string[] = [];
      const ends = new Set<string>();
      const swaps = await whileSwapping({ turns, place: at }, async () => {
        for (let round = 0; round < ROUNDS; round += 1) {
          for (const door of doors) {
            const { reason, text } = await outcomeOf(door.use(visitor, path, 'raw'));
            ends.add(reason);
            const learnt = place.learnt(text);
            if (!MAY_END.includes(reason) || learnt !== undefined || leakedPaths(text, [path]).length > 0)
              wrong.push(`${door.name}: ${reason}: ${text}`);
          }
        }
      });
      expect(wrong).toEqual([]);
      expect(place.touched()).toBe('');
      // Otherwise the test has tried nothing.
      expect(swaps).toBeGreaterThan(100);
      expect(ends.size).toBeGreaterThan(1);
    });
  });
});

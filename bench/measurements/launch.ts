/** From nothing to a daemon that takes calls, with one read-only drive. */
import { open } from 'node:fs/promises';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import type { SubjectId } from '../subjects/subject.js';

const IMAGE_SIZE = 100 * 1024 * 1024;

async function run(bench: Bench): Promise<readonly Row[]> {
  const path = bench.image('launch.img');
  const file = await open(path, 'w');
  await file.truncate(IMAGE_SIZE);
  await file.close();

  const values: Partial<Record<SubjectId, number[]>> = {};
  // The first time does not count: the stock appliance is built, files come into the cache.
  for (let round = 0; round <= bench.repeat; round += 1) {
    const seconds = await bench.withEach(async (subject) => {
      const machine = await subject.launch([{ path, format: 'raw' }]);
      await machine.close();
      return machine.launchSeconds;
    });
    bench.say(`launch ${round === 0 ? 'to warm up' : `${round} of ${bench.repeat}`}: ${[...seconds].map(([id, value]) => `${id} ${value.toFixed(1)} s`).join(', ')}`);
    if (round === 0) continue;
    for (const [id, value] of seconds) values[id] = [...(values[id] ?? []), value];
  }
  return [{ title: 'cold launch, one drive', unit: 's', better: 'less', values }];
}

export const launch: Measurement = { name: 'launch', summary: 'cold launch with one drive', repeat: 5, limitSeconds: 1800, run };

/**
 * The time until the daemon accepts calls, with one read-only drive: by a cold boot, from a template,
 * and from the pool. The library always cold-boots.
 */
import { open } from 'node:fs/promises';
import type { Bench } from '../bench.js';
import type { Measurement, Row } from '../measurement.js';
import { isService } from '../subjects/service.js';
import type { Subject, SubjectId } from '../subjects/subject.js';

const IMAGE_SIZE = 100 * 1024 * 1024;

/** The service's kinds of launch; the pool is refilled before each turn. */
const KINDS = [
  { title: 'cold launch, one drive', flags: ['--launch', 'cold'] },
  { title: 'launch from a template', flags: ['--launch', 'template'] },
  { title: 'launch from the pool', flags: ['--launch', 'template', '--pool', '1'] },
] as const;

async function run(bench: Bench): Promise<readonly Row[]> {
  const path = bench.image('launch.img');
  const file = await open(path, 'w');
  await file.truncate(IMAGE_SIZE);
  await file.close();

  const launchOne = async (subject: Subject): Promise<number> => {
    const machine = await subject.launch([{ path, format: 'raw' }]);
    await machine.close();
    return machine.launchSeconds;
  };
  const ours = KINDS.map((): Partial<Record<SubjectId, number[]>> => ({}));
  const libraries: Partial<Record<SubjectId, number[]>> = {};
  const keep = (values: Partial<Record<SubjectId, number[]>>, id: SubjectId, value: number): void => {
    values[id] = [...(values[id] ?? []), value];
  };
  // The first run does not count: it makes templates, builds the stock appliance and fills caches.
  for (let round = 0; round <= bench.repeat; round += 1) {
    const said: string[] = [];
    for (const [index, { flags }] of KINDS.entries()) {
      for (const id of bench.services) {
        const value = await launchOne(await bench.service(flags, id));
        said.push(`${id} ${value.toFixed(2)} s`);
        if (round > 0) keep(ours[index] ?? {}, id, value);
      }
    }
    const seconds = await bench.withEach(async (subject) => (isService(subject.id) ? undefined : launchOne(subject)));
    for (const [id, value] of seconds) {
      if (value === undefined) continue;
      said.push(`${id} ${value.toFixed(1)} s`);
      if (round > 0) keep(libraries, id, value);
    }
    bench.say(`launch ${round === 0 ? 'to warm up' : `${round} of ${bench.repeat}`}: ${said.join(', ')}`);
  }
  return KINDS.map(({ title }, index) => ({
    title,
    unit: 's',
    better: 'less',
    values: { ...ours[index], ...libraries },
  }));
}

export const launch: Measurement = {
  name: 'launch',
  summary: 'launch with one drive: cold, from a template, from the pool',
  repeat: 10,
  limitSeconds: 3600,
  run,
};

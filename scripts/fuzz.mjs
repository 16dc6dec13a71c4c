/**
 * `npm run fuzz`: feeds generated inputs to the code that reads untrusted bytes, guided by the coverage that they
 * reach.
 *
 *   --seconds N       for each target; 60 by default
 *   --hours N         for each target, instead
 *   --target REGEX    only these targets
 *   --seed N          the same inputs as in another run with that seed
 *   --jobs N          targets at a time; 2 by default
 *   --write-corpus    adds inputs to test/fuzz/corpus that increase its coverage
 */
import { parseArgs } from 'node:util';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureAllBuilt } from './setup/build.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { StepFailed } from './support/run.mjs';
import { sinceStart } from './support/say.mjs';
import { runFuzz } from './testing/fuzz.mjs';
import { tallyLine } from './testing/tally.mjs';

const HOUR_S = 3600;
const DEFAULT_S = 60;

await command(async () => {
  const values = options();
  const number = (/** @type {'hours' | 'seconds' | 'seed' | 'jobs'} */ name) => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (!/^\d+(\.\d+)?$/.test(text)) throw new StepFailed(`--${name} ${text}: give a number`);
    return Number(text);
  };
  const [hours, seconds] = [number('hours'), number('seconds')];
  if (hours !== undefined && seconds !== undefined) throw new StepFailed('give --hours or --seconds, not both');
  await ensureNodePackages();
  await ensureGenerated();
  await ensureAllBuilt();
  const tally = await runFuzz({
    only: values.target,
    seconds: hours === undefined ? (seconds ?? DEFAULT_S) : hours * HOUR_S,
    seed: number('seed'),
    jobs: number('jobs'),
    writeCorpus: values['write-corpus'],
  });
  console.log(`fuzzing took ${sinceStart()}`);
  for (const failure of tally.failures ?? []) console.log(`FOUND ${failure}`);
  console.log(tallyLine(tally));
  process.exitCode = tally.failed === 0 ? 0 : 1;
});

function options() {
  try {
    return parseArgs({
      options: {
        hours: { type: 'string' },
        seconds: { type: 'string' },
        target: { type: 'string' },
        seed: { type: 'string' },
        jobs: { type: 'string' },
        'write-corpus': { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new StepFailed(error instanceof Error ? error.message : String(error));
  }
}

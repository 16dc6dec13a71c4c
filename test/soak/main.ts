/** Runs a soak: `npm run soak`. */
import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError } from 'commander';
import { endOnSignals } from '../support/programServer.js';
import { runSoak } from './run.js';

const DEFAULT_MINUTES = 60;

function amount(text: string): number {
  const value = Number(text);
  if (!/^\d{1,6}(\.\d+)?$/.test(text) || value <= 0) throw new InvalidArgumentError('Give a positive number.');
  return value;
}

function whole(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('Give a whole number.');
  return Number(text);
}

const program = new Command('soak')
  .description('Keeps sessions at work while faults happen, checks all answers, and looks for leaks.')
  .option('--hours <N>', 'how long', amount)
  .option('--minutes <N>', `how long, instead (default: ${DEFAULT_MINUTES})`, amount)
  .option('--seed <N>', 'the same work and choices as in another run with that seed', whole)
  .allowExcessArguments(false)
  .parse(['node', 'soak', ...process.argv.slice(2).filter((word) => word !== '--')]);

const {
  hours,
  minutes,
  seed = randomInt(1, 2 ** 31),
} = program.opts<{ hours?: number; minutes?: number; seed?: number }>();
if (hours !== undefined && minutes !== undefined) program.error('error: give --hours or --minutes, not both');

endOnSignals();
const started = performance.now();
const say = (line: string): void => {
  process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(0).padStart(5)} s] ${line}\n`);
};
say(`seed ${seed}`);
const duration = hours === undefined ? (minutes ?? DEFAULT_MINUTES) : hours * 60;
const { faults, figures, skipped } = await runSoak({ minutes: duration, seed, say });
for (const line of figures) console.log(line);
for (const skip of skipped) console.log(`SKIPPED soak: ${skip}`);
for (const fault of faults) console.log(`FAILED soak, seed ${seed}: ${fault}`);
console.log(`${faults.length === 0 ? 1 : 0} passed, ${faults.length === 0 ? 0 : 1} failed, ${skipped.length} skipped`);
process.exitCode = faults.length === 0 ? 0 : 1;

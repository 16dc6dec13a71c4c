/** Runs the durability tests: `npm run durability`. */
import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError } from 'commander';
import { nameOf, SUBJECTS } from './fileSystems.js';
import { runKills } from './kills.js';
import { endOnSignals } from '../support/programServer.js';
import type { Outcome } from './outcome.js';
import { runPowerLoss } from './powerLoss/run.js';

const DEFAULT_KILLS = 200;
const DEFAULT_CUTS = 40;

function count(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError('Give a positive whole number.');
  return Number(text);
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

const program = new Command('durability')
  .description('Kills servers and appliances under load, or cuts their power, and looks for what was lost.')
  .option('--kills <N>', 'kills of qemu, of the server and of both', count, DEFAULT_KILLS)
  .option('--power-loss', 'simulate losses of power of the host instead', false)
  .option('--cuts <N>', 'with --power-loss: points in time for each file system and format', count, DEFAULT_CUTS)
  .option('--only <REGEX>', `some of: ${SUBJECTS.map(nameOf).join(', ')}`, expression)
  .option('--seed <N>', 'the same load and choices as in another run with that seed', count)
  .allowExcessArguments(false)
  .parse(['node', 'durability', ...process.argv.slice(2).filter((word) => word !== '--')]);

const {
  kills,
  powerLoss,
  cuts,
  only = /^/,
  seed = randomInt(1, 2 ** 31),
} = program.opts<{ kills: number; powerLoss: boolean; cuts: number; only?: RegExp; seed?: number }>();
const subjects = SUBJECTS.filter((subject) => only.test(nameOf(subject)));
if (subjects.length === 0) program.error(`error: --only ${only.source} matches nothing`);

endOnSignals();
const started = performance.now();
const say = (line: string): void => {
  process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(0).padStart(5)} s] ${line}\n`);
};
say(`seed ${seed}`);
const outcome: Outcome = powerLoss
  ? await runPowerLoss({ cuts, seed, say, subjects })
  : await runKills({ kills, seed, say, subjects });
for (const fault of outcome.faults) console.log(`FAILED ${outcome.name}, seed ${seed}: ${fault}`);
console.log(`${outcome.checked} images examined after ${powerLoss ? 'power losses' : 'crashes'}`);
console.log(outcome.faults.length === 0 ? '1 passed, 0 failed, 0 skipped' : '0 passed, 1 failed, 0 skipped');
process.exitCode = outcome.faults.length === 0 ? 0 : 1;

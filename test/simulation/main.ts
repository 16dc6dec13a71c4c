/** Runs simulations in this process, and prints a line of JSON with the results. See docs/reliability.md. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { register } from 'node:module';
import { Command, InvalidArgumentError } from 'commander';
import type { Outcome } from './simulate.js';

/** The results of a run. */
export interface Summary {
  readonly seeds: number;
  readonly operations: number;
  readonly faults: number;
  readonly simulatedHours: number;
  readonly processorSeconds: number;
  /** Of all traces. */
  readonly digest: string;
  readonly failures: readonly { readonly seed: number; readonly violation: string }[];
  /** How often each kind of fault has occurred. */
  readonly kinds: Readonly<Record<string, number>>;
}

/** Results of the search for a defect. */
export interface Found {
  readonly mutation: string;
  readonly seed: number | undefined;
  readonly violation: string | undefined;
  /** Whether it was found for the right reason. */
  readonly expected: boolean;
}

/** Seeds that once failed; from the sources, since the compiler does not copy them. */
const REGRESSIONS = new URL('../../../test/simulation/regressions.json', import.meta.url);
/** Lines of a failed simulation's trace that are printed. */
const LAST_LINES = 25;

// Before any module of the server is loaded.
register('./hooks.js', import.meta.url);
const { simulate } = await import('./simulate.js');

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Give a whole number.');
  return Number(text);
}

const program = new Command('simulate')
  .description('Runs the server in simulated surroundings, by seeds, and looks for violations of its invariants.')
  .option('--seed <N>', 'one, with its trace', whole)
  .option('--seeds <N>', 'this many, after those that failed once', whole, 1000)
  .option('--first <N>', 'begins with this seed', whole, 1)
  .option('--mutations', 'finds defects that are put in on purpose')
  .allowExcessArguments(false)
  .parse(['node', 'simulate', ...process.argv.slice(2).filter((word) => word !== '--')]);
const options = program.opts<{ seed?: number; seeds: number; first: number; mutations?: true }>();

async function runOne(seed: number): Promise<boolean> {
  const { trace, violation, digest } = await simulate(seed);
  for (const line of trace) console.log(line);
  console.log(`seed ${seed}: ${violation ?? 'all invariants hold'} (trace ${digest})`);
  return violation === undefined;
}

function report({ seed, violation, trace }: Outcome): void {
  for (const line of trace.slice(-LAST_LINES)) console.error(line);
  console.error(`FAILED: ${violation ?? ''}\nTo repeat it: npm run simulate -- --seed ${seed}\n`);
}

async function runMany(): Promise<boolean> {
  const once = (JSON.parse(readFileSync(REGRESSIONS, 'utf8')) as { readonly seed: number }[]).map(({ seed }) => seed);
  const { first } = options;
  const seeds = [...once, ...Array.from({ length: options.seeds }, (_, index) => first + index)];
  const started = process.cpuUsage();
  const kinds = new Map<string, number>();
  const failures: { seed: number; violation: string }[] = [];
  const digest = createHash('sha256');
  let [operations, simulatedMs] = [0, 0];
  for (const seed of seeds) {
    const outcome = await simulate(seed);
    digest.update(outcome.digest);
    operations += outcome.operations;
    simulatedMs += outcome.simulatedMs;
    for (const [kind, count] of outcome.faults) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
    if (outcome.violation === undefined) continue;
    failures.push({ seed, violation: outcome.violation });
    report(outcome);
  }
  const { user, system } = process.cpuUsage(started);
  const summary: Summary = {
    ...{ seeds: seeds.length, operations, failures },
    faults: [...kinds.values()].reduce((sum, count) => sum + count, 0),
    simulatedHours: Math.round(simulatedMs / 360_000) / 10,
    processorSeconds: Math.round((user + system) / 1e6),
    digest: digest.digest('hex'),
    kinds: Object.fromEntries([...kinds].sort()),
  };
  console.log(JSON.stringify(summary));
  return failures.length === 0;
}

async function findMutations(): Promise<boolean> {
  const { MUTATIONS, findWith } = await import('./mutations.js');
  const found: Found[] = [];
  for (const mutation of MUTATIONS) {
    const first = await findWith(mutation, simulate);
    const { seed, violation } = first ?? {};
    const expected = violation !== undefined && mutation.found.test(violation);
    found.push({ mutation: mutation.name, seed, violation, expected });
  }
  console.log(JSON.stringify(found));
  return found.every(({ expected }) => expected);
}

const ok = await (options.mutations ? findMutations() : options.seed === undefined ? runMany() : runOne(options.seed));
// A simulation that failed may have left timers of this process.
process.exit(ok ? 0 : 1);

/**
 * Measures this service and libguestfs in turn, in one run, and prints the ratios.
 *
 *   npm run bench -- [MEASUREMENT...] [--repeat N] [--size MIB] [--only SUBJECT,...] [--against DIR] [--output DIR]
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultApplianceDirectory } from '../appliance-builder/location.js';
import { DEFAULT_SUITE } from '../appliance-builder/suite.js';
import { linkedAbort } from '../src/common/waiting.js';
import { Bench } from './bench.js';
import type { Measurement } from './measurement.js';
import { measurements } from './measurements/index.js';
import { chart } from './report/chart.js';
import { machineFacts } from './report/machine.js';
import { rowResult, type BenchResult, type RowResult } from './report/result.js';
import { table } from './report/table.js';
import { SUBJECTS, type SubjectId } from './subjects/subject.js';

const DEFAULT_OUTPUT = join('build', 'bench');
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const say = (text: string): void => console.error(`bench: ${text}`);

interface Asked {
  readonly selected: readonly Measurement[];
  readonly subjects: readonly SubjectId[];
  readonly repeat: number | undefined;
  readonly size: number | undefined;
  readonly against: string | undefined;
  readonly output: string;
}

/** A mistake on the command line. */
class UsageError extends Error {}

function usage(): string {
  return [
    'npm run bench -- [MEASUREMENT...] [--repeat N] [--size MIB] [--only SUBJECT,...] [--against DIR] [--output DIR]',
    '',
    ...measurements.map(({ name, summary, repeat }) => `  ${name.padEnd(10)}${summary} (${repeat} times)`),
    '',
    `  --only      some of ${SUBJECTS.join(', ')}`,
    '  --size      MiB to transfer',
    '  --against   another checkout, built, whose server is measured in turn with this one',
    `  --output    where results.json and results.svg go (${DEFAULT_OUTPUT})`,
  ].join('\n');
}

function count(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(value)) throw new UsageError(`--${name}: ${value} is not a positive integer`);
  return Number(value);
}

function oneOf<Value extends { readonly name: string } | string>(word: string, all: readonly Value[]): Value {
  const found = all.find((value) => (typeof value === 'string' ? value : value.name) === word);
  if (found === undefined) throw new UsageError(`unknown name: ${word}`);
  return found;
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        repeat: { type: 'string' },
        size: { type: 'string' },
        only: { type: 'string' },
        against: { type: 'string' },
        output: { type: 'string' },
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function readArguments(): Asked | undefined {
  const { values, positionals } = parse();
  if (values.help === true) return undefined;
  const against = values.against === undefined ? undefined : resolve(values.against);
  const available = SUBJECTS.filter((id) => id !== 'other' || against !== undefined);
  const chosen = values.only?.split(',').map((word) => oneOf(word, available));
  return {
    selected: positionals.length === 0 ? measurements : positionals.map((word) => oneOf(word, measurements)),
    subjects: chosen ?? available,
    against,
    repeat: count('repeat', values.repeat),
    size: count('size', values.size),
    output: resolve(values.output ?? DEFAULT_OUTPUT),
  };
}

/** Runs one measurement within its time limit. */
async function measure(measurement: Measurement, asked: Asked, stop: AbortSignal): Promise<readonly RowResult[]> {
  say(`── ${measurement.name}: ${measurement.summary}`);
  const limited = linkedAbort([stop], {
    milliseconds: measurement.limitSeconds * 1000,
    makeError: () => new Error(`${measurement.name} takes more than ${measurement.limitSeconds} s`),
  });
  const { signal } = limited;
  const appliance = process.env['GUESTFS_GRPC_APPLIANCE'] ?? defaultApplianceDirectory(DEFAULT_SUITE);
  const bench = await Bench.open({
    repeat: asked.repeat ?? measurement.repeat,
    size: asked.size,
    appliance,
    against: asked.against,
    subjects: asked.subjects,
    signal,
    say,
  });
  try {
    return (await measurement.run(bench)).map((row) => rowResult(measurement.name, row));
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    limited.release();
    await bench.close();
  }
}

async function main(asked: Asked): Promise<boolean> {
  const controller = new AbortController();
  for (const signal of SIGNALS) process.once(signal, () => controller.abort(new Error(`stopped by ${signal}`)));
  const rows: RowResult[] = [];
  const failures: Record<string, string> = {};
  const machine = await machineFacts();
  for (const measurement of asked.selected) {
    if (controller.signal.aborted) break;
    try {
      rows.push(...(await measure(measurement, asked, controller.signal)));
    } catch (error) {
      failures[measurement.name] = error instanceof Error ? error.message : String(error);
      say(`${measurement.name} failed: ${failures[measurement.name] ?? ''}`);
    }
  }
  const result: BenchResult = { date: new Date().toISOString(), machine, rows, failures };
  await mkdir(asked.output, { recursive: true });
  await writeFile(join(asked.output, 'results.json'), `${JSON.stringify(result, undefined, 2)}\n`);
  await writeFile(join(asked.output, 'results.svg'), chart(result));
  console.log(table(result));
  say(`results.json and results.svg are in ${asked.output}`);
  return Object.keys(failures).length === 0 && rows.every(({ kept }) => kept !== false);
}

try {
  const asked = readArguments();
  if (asked === undefined) console.log(usage());
  else process.exitCode = (await main(asked)) ? 0 : 1;
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${usage()}`);
  process.exitCode = 2;
}

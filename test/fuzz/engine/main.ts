/**
 * Fuzzes one target in this process: `node --expose-gc dist/test/fuzz/engine/main.js JSON`. Reports its progress in
 * lines of JSON; `scripts/fuzz.mjs` starts it, and prints them in readable form.
 */
import { spawnSync } from 'node:child_process';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { readInputs, writeInput } from './corpus.js';
import { Fuzzer, LONGEST_MS } from './fuzzer.js';
import { leastCover } from './leastCover.js';
import type { Line, Order } from './order.js';
import { installProbes } from './probes.js';
import { Watchdog } from './watchdog.js';

const STATUS_MS = 30_000;

const order = JSON.parse(process.argv[2] ?? '{}') as Order;
const say = (line: Line): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const probes = installProbes();
register('./hooks.js', import.meta.url);
const { findTarget } = await import('../targets/index.js');
const target = await findTarget(order.target);
const watchdog = new Watchdog(target.name, order.findings, Math.max(target.longest, 2 * target.stretched));

/** Measures an input in a separate process, without probes. */
function isSlow(input: Buffer): boolean {
  const path = writeInput(order.findings, input, `${target.name}-slow`);
  const replay = fileURLToPath(new URL('./replay.js', import.meta.url));
  const { stdout } = spawnSync(process.execPath, [replay, target.name, path], { encoding: 'utf8', timeout: 60_000 });
  const ms = /"ms":([\d.]+)/.exec(stdout)?.[1];
  return ms === undefined || Number(ms) > LONGEST_MS;
}

const fuzzer = new Fuzzer({
  target,
  probes,
  seed: order.seed,
  milliseconds: order.seconds * 1000,
  inputs: order.corpora.flatMap((directory) => readInputs(directory).map(({ bytes }) => bytes)),
  collectGarbage: () => globalThis.gc?.(),
  onRun: (input) => watchdog.begin(input),
  onNew: (input) => void writeInput(order.kept, input),
  onFinding: ({ what, input, stack }) => {
    const path = writeInput(order.findings, input, `${target.name}-${what.slice(-17, -1)}`);
    say({ kind: 'finding', what, path, stack });
  },
  onStatus: (status) => say({ kind: 'status', ...status }),
  statusMs: STATUS_MS,
  isSlow,
});
const status = await fuzzer.run();
if (order.cover !== undefined) {
  const kept = readInputs(order.cover).map(({ bytes }) => bytes);
  for (const input of await leastCover(target, probes, kept, fuzzer.corpus)) writeInput(order.cover, input);
}
say({ kind: 'done', ...status });
await watchdog.stop();

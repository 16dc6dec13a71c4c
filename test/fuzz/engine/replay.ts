/** Runs a target on inputs in files, without probes: `node dist/test/fuzz/engine/replay.js TARGET FILE...` */
import { readFileSync } from 'node:fs';
import { now, useProcessorTime } from './clock.js';
import { beginRun, longestTurn } from './target.js';
import { findTarget } from '../targets/index.js';

const REPEATS = 5;

const [name = '', ...files] = process.argv.slice(2);
const target = await findTarget(name);
for (const file of files) {
  const input = readFileSync(file);
  let least = Infinity;
  useProcessorTime(false);
  beginRun();
  await target.run(Buffer.from(input));
  useProcessorTime(true);
  for (let count = 0; count < REPEATS; count += 1) {
    beginRun();
    const started = now();
    await target.run(Buffer.from(input));
    least = Math.min(least, longestTurn() ?? now() - started);
  }
  console.log(JSON.stringify({ file, ms: least }));
}

/** Fuzzes the code that reads input from hostile clients, images, guests and appliances. See docs/fuzzing.md. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inProject, root } from '../support/project.mjs';
import { say } from '../support/say.mjs';
import { add, nothing, onePassed } from './tally.mjs';

/** Targets at a time by default: as many as test machines have processors. */
const AT_A_TIME = 2;
/** A target gets this much more time, to load, to shorten failing inputs, and to end. */
const GRACE_MS = 120_000;
/** Niceness of a run beside other tests, and how many times as long its start and its end may take. */
const ASIDE_NICENESS = 10;
const ASIDE_DELAY = 5;
const MIB = 1 << 20;

/**
 * Options of a run.
 * @typedef {object} FuzzRun
 * @property {string} [only] A regular expression: only matching targets.
 * @property {number} seconds For each target.
 * @property {number} [seed] By default a different one each time.
 * @property {number} [jobs] Targets at a time.
 * @property {boolean} [aside] Takes only the processor time that nothing else wants.
 * @property {boolean} [writeCorpus] Adds the inputs that contribute most to the coverage to the corpus in the sources.
 */

/** @typedef {import('../../test/fuzz/engine/order.js').Line} Line */
/** @typedef {import('../../test/fuzz/engine/fuzzer.js').Status} Status */
/** @typedef {{ target: string, result: Status | undefined, findings: string[] }} Outcome */

/**
 * Fuzzes one target in a separate process.
 * @param {string} target
 * @param {FuzzRun} run
 * @returns {Promise<Outcome>}
 */
function fuzzOne(target, { seconds, seed = Math.floor(Math.random() * 2 ** 32), writeCorpus, aside = false }) {
  const corpus = inProject('test', 'fuzz', 'corpus', target);
  const kept = inProject('dist', 'fuzz', 'corpus', target);
  /** @type {import('../../test/fuzz/engine/order.js').Order} */
  const order = {
    target,
    seconds,
    seed,
    corpora: [corpus, kept],
    kept,
    findings: inProject('dist', 'fuzz', 'findings'),
    cover: writeCorpus === true ? corpus : undefined,
  };
  const program = inProject('dist', 'test', 'fuzz', 'engine', 'main.js');
  const command = [process.execPath, '--expose-gc', program, JSON.stringify(order)];
  const [first = '', ...rest] = aside ? ['nice', '-n', String(ASIDE_NICENESS), ...command] : command;
  const child = spawn(first, rest, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], detached: aside });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  if (aside && child.pid !== undefined) standAside(child.pid);
  const limit = setTimeout(kill, seconds * 1000 + GRACE_MS * (aside ? ASIDE_DELAY : 1));
  /** @type {string[]} */
  const findings = [];
  let result = /** @type {Status | undefined} */ (undefined);
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = /** @type {Line} */ (JSON.parse(text));
    if (line.kind === 'done') result = line;
    if (line.kind === 'status') say(`${target}: ${statusText(line)}`);
    if (line.kind !== 'finding') return;
    findings.push(`${target}: ${line.what.slice(0, 300)}: ${relative(root, line.path)}`);
    say(`FOUND ${findings.at(-1) ?? ''} (seed ${String(seed)})`);
    if (line.stack !== undefined) say(line.stack.slice(-2000));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      process.off('exit', kill);
      if (result === undefined) findings.push(`${target}: the process ended with ${String(signal ?? code)}`);
      resolve({ target, result, findings });
    });
  });
}

/**
 * Where the kernel groups processes by session (autogroup, see sched(7)), niceness counts only within a group, and each
 * group has its own. The process must be the first of its session.
 * @param {number} pid
 */
function standAside(pid) {
  try {
    writeFileSync(`/proc/${String(pid)}/autogroup`, String(ASIDE_NICENESS));
  } catch {
    // This kernel has no such groups.
  }
}

/** @param {Status} status */
function statusText({ executions, seconds, reached, places, corpus, findings, growth }) {
  const parts = [
    `${executions.toLocaleString('en')} executions`,
    `${Math.round(executions / seconds).toLocaleString('en')}/s`,
    `${String(reached)} of ${String(places)} places`,
    `${String(corpus)} inputs`,
    ...(growth === undefined ? [] : [`growth ${(growth / MIB).toFixed(1)} MiB`]),
    `${String(findings)} findings`,
  ];
  return parts.join(', ');
}

/** @returns {Promise<readonly string[]>} */
async function targetNames() {
  const url = pathToFileURL(inProject('dist', 'test', 'fuzz', 'targets', 'index.js')).href;
  const targets = /** @type {{ targetNames: readonly string[] }} */ (await import(url));
  return targets.targetNames;
}

/**
 * Fuzzes the targets; each counts as one test. Everything must be compiled.
 * @param {FuzzRun} run
 * @returns {Promise<import('./tally.mjs').Tally>}
 */
export async function runFuzz(run) {
  const waiting = [...(await targetNames())].filter(
    (name) => run.only === undefined || new RegExp(run.only).test(name),
  );
  if (waiting.length === 0) say(`no target matches ${run.only ?? ''}; there are ${(await targetNames()).join(', ')}`);
  /** @type {Outcome[]} */
  const outcomes = [];
  const work = async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const outcome = await fuzzOne(target, run);
      outcomes.push(outcome);
      if (outcome.result !== undefined) say(`${target}: ${statusText(outcome.result)}`);
    }
  };
  await Promise.all(Array.from({ length: run.jobs ?? AT_A_TIME }, work));
  const executions = outcomes.reduce((sum, { result }) => sum + (result?.executions ?? 0), 0);
  say(`${executions.toLocaleString('en')} executions of ${String(outcomes.length)} targets`);
  return outcomes
    .map(({ findings }) => (findings.length === 0 ? onePassed : { ...nothing, failed: 1, failures: findings }))
    .reduce(add, outcomes.length === 0 ? { ...nothing, failed: 1 } : nothing);
}

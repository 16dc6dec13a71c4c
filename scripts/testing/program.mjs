/** Runs compiled test programs: tests that are longer than Jest's, and can be run alone with options. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { inProject, root } from '../support/project.mjs';
import { say } from '../support/say.mjs';
import { add, nothing, oneFailed } from './tally.mjs';

/**
 * A program. It prints `FAILED what` and `SKIPPED what`, and at the end its total, as `npm test` does.
 * @typedef {object} TestProgram
 * @property {string} name Of its directory in `test`.
 * @property {string[]} flags
 * @property {NodeJS.ProcessEnv} [env]
 * @property {number} limitMs Time limit.
 */

/**
 * Runs a program. The counts are its own, plus one failure if it did not end normally.
 * @param {TestProgram} program
 * @returns {Promise<import('./tally.mjs').Tally>}
 */
export function runProgram({ name, flags, env, limitMs }) {
  const child = spawn(process.execPath, [inProject('dist', 'test', name, 'main.js'), ...flags], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
  /** @type {import('./tally.mjs').Tally} */
  let counted = nothing;
  createInterface({ input: child.stdout }).on('line', (line) => {
    say(line);
    counted = add(counted, tallyOf(line));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      const { failed } = counted;
      const unexpected = signal !== null || (failed === 0 && (code !== 0 || counted.passed === 0));
      if (unexpected) say(`${name} ended with ${String(signal ?? code)}`);
      resolve(unexpected ? add(counted, oneFailed) : counted);
    });
  });
}

/**
 * What a line contributes.
 * @param {string} line
 * @returns {import('./tally.mjs').Tally}
 */
export function tallyOf(line) {
  const total = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(line);
  if (total !== null) return { passed: Number(total[1]), failed: Number(total[2]), skipped: Number(total[3]) };
  const [, kind, what = ''] = /^(FAILED|SKIPPED) (.*)$/.exec(line) ?? [];
  if (kind === 'FAILED') return { ...nothing, failures: [what] };
  return kind === 'SKIPPED' ? { ...nothing, skips: [what] } : nothing;
}

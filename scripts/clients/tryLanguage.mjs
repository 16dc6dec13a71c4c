/** Builds and runs the example of a language. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { ensureSystemPackages } from '../setup/systemPackages.mjs';
import { inProject } from '../support/project.mjs';
import { isInstalled, StepFailed } from '../support/run.mjs';
import { duration } from '../support/say.mjs';
import { builds } from './builds.mjs';
import { Work } from './work.mjs';

/** The first one can wait for an appliance that boots without KVM, on a host with other work. */
const RUN_LIMIT_MS = 600_000;

/**
 * What came of a program; the line says why.
 * @typedef {{ result: 'passed' | 'failed' | 'skipped', line: string }} Outcome
 */

/**
 * What keeps the example of a language from being built here; undefined: nothing. Installs packages.
 * @param {import('./languages.mjs').Language} language
 */
async function obstacle({ absent, programs = [], packages = [] }) {
  if (absent !== undefined) return absent;
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length > 0) return `${missing.join(', ')} is not installed, and Debian's is too old`;
  try {
    await ensureSystemPackages(packages);
    return undefined;
  } catch (error) {
    if (error instanceof StepFailed) return error.message;
    throw error;
  }
}

/**
 * Standard output of an example; if it fails, why.
 * @param {import('./work.mjs').Program} program
 * @param {string} address of the server
 * @returns {Promise<{ output: string, failure?: string }>}
 */
function outputOfExample({ command: [program = '', ...args], env = {} }, address) {
  return new Promise((resolve) => {
    execFile(
      program,
      [...args, address],
      { env: { ...process.env, ...env }, timeout: RUN_LIMIT_MS, killSignal: 'SIGKILL' },
      (error, output, errors) => {
        if (error === null) resolve({ output });
        else
          resolve({ output, failure: `${error.killed ? 'too slow' : `exit code ${String(error.code)}`}: ${errors}` });
      },
    );
  });
}

/**
 * @param {import('./languages.mjs').Language} language
 * @param {{ directory: string, address: string, sessions: () => Promise<number> }} scene `directory` is made, and removed;
 *   `sessions` tells how many the server has.
 * @returns {Promise<readonly Outcome[]>} one for each program
 */
export async function tryLanguage(language, { directory, address, sessions }) {
  const reason = await obstacle(language);
  if (reason !== undefined) return [{ result: 'skipped', line: `${language.title}: ${reason}` }];
  const expected = readFileSync(inProject('examples', 'drive.txt'), 'utf8');
  mkdirSync(directory);
  try {
    const startedAt = performance.now();
    const programs = await builds[language.name]?.(new Work(directory));
    const built = duration(performance.now() - startedAt);
    /** @type {Outcome[]} */
    const outcomes = [];
    for (const program of programs ?? []) {
      const before = await sessions();
      const runAt = performance.now();
      const { output, failure } = await outputOfExample(program, address);
      const ran = duration(performance.now() - runAt);
      const name = program.variant === undefined ? language.title : `${language.title}, ${program.variant}`;
      const left = (await sessions()) - before;
      const wrong = [
        ...(failure === undefined ? [] : [failure]),
        ...(output === expected ? [] : [`it has printed:\n${output}`]),
        ...(left <= 0 ? [] : [`${String(left)} sessions are left`]),
      ];
      outcomes.push({
        result: wrong.length === 0 ? 'passed' : 'failed',
        line: [`${name}: built in ${built}, run in ${ran} (${program.versions})`, ...wrong].join('\n'),
      });
    }
    return outcomes;
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    return [{ result: 'failed', line: `${language.title}: ${error.message}` }];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Replays libguestfs's own API tests against a server started for them. */
import { chmodSync, mkdirSync, mkdtempSync, openSync, closeSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProject, projectTool } from '../support/project.mjs';
import { run, start, StepFailed } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { add, oneFailed, oneSkipped } from '../testing/tally.mjs';
import { ensureData } from './data.mjs';
import { knownCauses, report } from './report.mjs';
import { startServer } from './server.mjs';
import { readResults, Suite } from './suite.mjs';

/** Sessions at a time: enough to keep two cores busy. */
const DEFAULT_JOBS = 2;

/**
 * @typedef {object} ConformanceRun
 * @property {string} directory Where the suite is.
 * @property {string} [only] Regular expression: only these vectors, which are named `action:index`.
 * @property {string} [appliance] Directory of another appliance than the default one.
 * @property {number} [jobs] Sessions at a time.
 * @property {NodeJS.ProcessEnv} [env] For the server.
 * @property {number} [limitMs]
 */

/**
 * Runs the suite. Server and packages must be set up already.
 * @param {ConformanceRun} asked
 * @returns {Promise<import('../testing/tally.mjs').Tally>}
 */
export async function runConformance({ directory, only, appliance, jobs = DEFAULT_JOBS, env = {}, limitMs }) {
  const suite = new Suite(directory);
  if (!suite.exists()) {
    say(`SKIPPED: there is no conformance suite in ${directory}`);
    return oneSkipped;
  }
  const data = await ensureData(suite);
  const temporary = realpathSync(env.TMPDIR ?? tmpdir());
  const workDirectory = mkdtempSync(join(temporary, 'conformance-'));
  chmodSync(workDirectory, 0o755);
  const outputs = inProject('dist', 'conformance');
  mkdirSync(outputs, { recursive: true });
  const descriptors = join(outputs, 'api.binpb');
  const json = join(outputs, 'results.json');
  rmSync(json, { force: true });
  await run(projectTool('buf', 'build', '-o', descriptors));

  const logFile = join(outputs, 'server.log');
  const log = openSync(logFile, 'w');
  try {
    const server = await startServer({
      flags: [
        '--image-root',
        workDirectory,
        '--image-root',
        data,
        ...['--allow', 'backing-files'],
        ...(appliance === undefined ? [] : ['--appliance', appliance]),
      ],
      env,
      log,
    });
    say(`server on ${server.address}, its log in ${logFile}`);
    let complete = false;
    let stopped = false;
    try {
      const command = suite.runCommand({ data, workDirectory, target: server.address, descriptors, json, jobs, only });
      complete = typeof (await start(command, { limitMs })) === 'number';
    } finally {
      stopped = await server.stop();
    }
    if (!complete) say('the run was stopped before it was complete');
    if (!stopped) say('the server did not shut down cleanly');
    const results = readResults(json);
    if (results === undefined) throw new StepFailed('the run left no results');
    const notRun = suite.vectors(only).filter((id) => results.results[id] === undefined);
    if (notRun.length > 0) say(`not run: ${notRun.join(', ')}`);
    const tally = { ...report(suite, results, knownCauses()) };
    tally.failed += notRun.length;
    return complete && stopped ? tally : add(tally, oneFailed);
  } finally {
    closeSync(log);
    rmSync(workDirectory, { recursive: true, force: true });
  }
}

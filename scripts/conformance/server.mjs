/** A server for the tests. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { inProject, root } from '../support/project.mjs';
import { StepFailed } from '../support/run.mjs';

const READY_LINE = /^listening on (\S+:\d+)$/;
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 60_000;

/**
 * Starts a server on a free port and resolves when it is ready.
 * @param {{ flags: string[], env?: NodeJS.ProcessEnv, log: number }} options `log` is the file for its log.
 */
export async function startServer({ flags, env = {}, log }) {
  const command = [inProject('dist', 'src', 'cli', 'main.js'), 'serve', '--listen', '127.0.0.1:0', ...flags];
  const child = spawn(process.execPath, command, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', log],
  });
  const exited = once(child, 'exit');
  /** @type {Promise<string>} */
  const ready = new Promise((resolve, reject) => {
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const [, address] = READY_LINE.exec(line) ?? [];
        if (address !== undefined) resolve(address);
      });
    }
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      reject(new StepFailed(`the server exited before it was ready (${String(code ?? signal)})`)),
    );
    setTimeout(() => reject(new StepFailed('the server was not ready in time')), START_LIMIT_MS).unref();
  });
  try {
    return { address: await ready, stop: () => stop(child, exited) };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/**
 * Stops the server as an operator does.
 * @param {import('node:child_process').ChildProcess} child
 * @param {Promise<unknown>} exited
 */
async function stop(child, exited) {
  child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(limit);
  return child.exitCode === 0;
}

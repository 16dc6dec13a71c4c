/**
 * Runs other programs. A signal that would end the script is passed on to the running program, and ends the script once
 * the program has exited, so that nothing keeps running alone.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { root } from './project.mjs';

const ENDING_SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/** A failed step, explained for people: printed without a stack. */
export class StepFailed extends Error {
  /** @override */
  name = 'StepFailed';
}

/**
 * Options of {@link start}.
 * @typedef {object} RunOptions
 * @property {import('node:child_process').StdioOptions} [stdio] By default the script's own.
 * @property {NodeJS.ProcessEnv} [env] Added to the script's own environment.
 * @property {string} [cwd] By default the project's root.
 * @property {number} [limitMs] The program is killed after this time.
 */

/**
 * Starts a program and resolves with its exit code, or the name of the signal that ended it.
 * @param {string[]} command
 * @param {RunOptions} [options]
 * @returns {Promise<number | NodeJS.Signals>}
 */
export function start([program = '', ...args], { stdio = 'inherit', env = {}, cwd = root, limitMs } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio, cwd, env: { ...process.env, ...env } });
    /** @type {NodeJS.Signals | undefined} */
    let asked;
    /** @param {NodeJS.Signals} signal */
    const passOn = (signal) => {
      asked = signal;
      child.kill(signal);
    };
    for (const signal of ENDING_SIGNALS) process.on(signal, passOn);
    const limit = limitMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), limitMs);
    const settle = () => {
      clearTimeout(limit);
      for (const signal of ENDING_SIGNALS) process.off(signal, passOn);
    };
    child.on('error', (error) => {
      settle();
      reject(new StepFailed(`${program} cannot be started: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      settle();
      // The script was asked to end: now that the program has exited, it does.
      if (asked !== undefined) process.kill(process.pid, asked);
      else resolve(code ?? signal ?? 1);
    });
  });
}

/**
 * As {@link start}, for a program that must succeed.
 * @param {string[]} command
 * @param {RunOptions} [options]
 */
export async function run(command, options) {
  const result = await start(command, options);
  if (result !== 0)
    throw new StepFailed(
      `"${command.join(' ')}" ended with ${typeof result === 'number' ? `exit code ${String(result)}` : result}`,
    );
}

/**
 * Standard output of a short program, whatever its exit code.
 * @param {string[]} command
 */
export function outputOf([program = '', ...args]) {
  const { error, stdout } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 64 << 20,
  });
  if (error) throw new StepFailed(`${program} cannot be started: ${error.message}`);
  return stdout;
}

/**
 * True if a program is on the PATH or in one of the sbin directories.
 * @param {string} program
 */
export function isInstalled(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Output of programs for checks. */
import { spawnSync } from 'node:child_process';
import { root } from '../support/project.mjs';
import { StepFailed } from '../support/run.mjs';

/**
 * Exit code and output of a program.
 * @param {string[]} command
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, input?: string }} [options]
 */
export function outcome([program = '', ...args], { env = {}, cwd = root, input = '' } = {}) {
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    cwd,
    input,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 64 << 20,
  });
  if (error) throw new StepFailed(`${program} cannot be started: ${error.message}`);
  return { status, stdout, stderr, output: `${stdout}${stderr}` };
}

/**
 * Standard output of a program that must succeed.
 * @param {string[]} command
 * @param {Parameters<typeof outcome>[1]} [options]
 */
export function output(command, options) {
  const { status, stdout, stderr } = outcome(command, options);
  if (status !== 0) throw new StepFailed(`"${command.join(' ')}" ended with ${String(status)}: ${stderr.slice(-2000)}`);
  return stdout;
}

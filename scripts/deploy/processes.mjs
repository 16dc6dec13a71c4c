/** Programs that run while something is checked, with what they print. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const LOG_LENGTH = 200_000;

/** @param {import('node:child_process').ChildProcess} child */
function hasEnded({ pid, exitCode, signalCode }) {
  return pid === undefined || exitCode !== null || signalCode !== null;
}

export class Processes {
  /** @type {{ name: string, child: import('node:child_process').ChildProcess }[]} */
  #running = [];
  #log = '';

  /**
   * Starts a program.
   * @param {string[]} command
   * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options] `env` is added to this process's
   */
  run([program = '', ...args], { cwd, env = {} } = {}) {
    const child = spawn(program, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes) => {
        this.#log = (this.#log + String(bytes)).slice(-LOG_LENGTH);
      });
    child.on('error', (error) => {
      this.#log += error.message;
    });
    this.#running.push({ name: program, child });
  }

  /** The end of what all of them have printed. */
  get log() {
    return this.#log.slice(-4000);
  }

  /** Name of a program that has ended; undefined if all run. */
  get ended() {
    return this.#running.find(({ child }) => hasEnded(child))?.name;
  }

  /**
   * Ends all of them, the last first.
   * @param {NodeJS.Signals} signal
   */
  async stop(signal) {
    for (const { child } of this.#running.reverse()) {
      if (hasEnded(child)) continue;
      child.kill(signal);
      await once(child, 'exit');
    }
    this.#running = [];
  }
}

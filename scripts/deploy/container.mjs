/** Containers of the image, confined as those of the chart. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { StepFailed } from '../support/run.mjs';
import { outcome } from './output.mjs';

export const IMAGE = 'localhost/guestfs-grpc';
/** The machine of CI has no user namespaces for rootless containers, and runs these as root. */
export const PODMAN = ['podman', '--runtime', 'runc'];
/** What a container needs on a machine with limits and networks of its own. */
export const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000', '--network=host'];
const CONFINED = ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges'];
const START_LIMIT_MS = 120_000;

/**
 * @typedef {object} Container
 * @property {string} what it is, for the checks and for its name
 * @property {string} user and group, by their numbers
 * @property {readonly string[]} options of podman
 * @property {readonly string[]} args of the image
 * @property {number} stopSeconds within which it has to end by itself
 *
 * @typedef {object} Running
 * @property {string} name by which podman knows it
 * @property {() => string} log
 * @property {number} startMs what it took until it listened
 */

/**
 * Runs a container while it is asked something, then checks that it ends by itself.
 * @param {import('./checks.mjs').Checks} checks
 * @param {Container} container
 * @param {(running: Running) => Promise<void>} ask
 */
export async function withContainer(checks, { what, user, options, args, stopSeconds }, ask) {
  const name = `guestfs-grpc-verify-${what}-${process.pid}`;
  const [program = '', ...flags] = PODMAN;
  const own = ['--rm', '--name', name, '--user', user];
  const started = performance.now();
  const child = spawn(program, [...flags, 'run', ...LIMITS, ...CONFINED, ...own, ...options, IMAGE, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (bytes) => {
    log += String(bytes);
  });
  const exited = once(child, 'exit');
  try {
    await listening(child, () => log);
    await ask({ name, log: () => log, startMs: performance.now() - started });
  } finally {
    outcome([...PODMAN, 'stop', '--time', String(stopSeconds), name]);
    const [code] = await exited;
    checks.that(`user ${user}: the ${what} ends with exit code 0`, code === 0, `${String(code)}\n${log}`);
  }
}

/**
 * Waits until the program in the container listens.
 * @param {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, import('node:stream').Readable>} child
 * @param {() => string} log
 */
async function listening(child, log) {
  const limit = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  try {
    for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('listening on ')) return;
    throw new StepFailed(`the container did not listen:\n${log()}`);
  } finally {
    clearTimeout(limit);
  }
}

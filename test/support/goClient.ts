/** Runs the tests of the Go client. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../architecture/sourceTree.js';
import { plainEnvironment } from './testServer.js';

export const GO_CLIENT = join(root, 'clients', 'go');

/** What is missing, as a sentence; undefined: nothing. The modules come from Go's proxy, if they are not there yet. */
export function missingForGo(): string | undefined {
  const { status, error, stderr } = spawnSync('go', ['mod', 'download'], { cwd: GO_CLIENT, encoding: 'utf8' });
  if (error !== undefined) return 'Go is not installed';
  return status === 0 ? undefined : `its modules cannot be had: ${stderr.trim()}`;
}

/**
 * Runs Go with some arguments; resolves with what it prints.
 * @throws the error of execFile, with `stdout` and `stderr`
 */
export async function runGo(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await promisify(execFile)('go', args, { cwd, env: { ...plainEnvironment(), ...env } });
  return stdout;
}

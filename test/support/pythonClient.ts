/** Runs programs with the Python client. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../architecture/sourceTree.js';
import { plainEnvironment } from './testServer.js';

/** Debian's own Python: the one for which its packages bring modules. */
export const PYTHON = '/usr/bin/python3';

const CLIENT = join(root, 'clients', 'python');
/** Makes `import guestfs` find the client. */
const ALIAS = join(CLIENT, 'guestfs_grpc', 'alias');

/** What Python lacks of these modules, as a sentence; undefined: nothing. */
export function missingForPython(...modules: readonly string[]): string | undefined {
  const lacking = modules.filter((name) => spawnSync(PYTHON, ['-c', `import ${name}`]).status !== 0);
  return lacking.length === 0 ? undefined : `${PYTHON} has no module ${lacking.join(', ')}`;
}

export interface PythonRun {
  /** `import guestfs` finds libguestfs's own binding, not the client. */
  readonly library?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/**
 * Runs a program; resolves with what it prints.
 * @throws the error of execFile, with `stderr`
 */
export async function runPython(args: readonly string[], { library, env, cwd }: PythonRun = {}): Promise<string> {
  const path = library === true ? {} : { PYTHONPATH: `${ALIAS}:${CLIENT}` };
  const { stdout } = await promisify(execFile)(PYTHON, ['-W', 'ignore::DeprecationWarning', ...args], {
    cwd,
    env: { ...plainEnvironment(), PYTHONDONTWRITEBYTECODE: '1', ...path, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

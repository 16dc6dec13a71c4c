/** Runs simulations, each of which is a test: see docs/reliability.md. They run in processes with hooks of their own. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, jest } from '@jest/globals';
import type { Found, Summary } from './main.js';

/** In `npm test`; `npm run simulate` runs as many as it is asked to. */
const SEEDS = 2000;
const PROGRAM = fileURLToPath(new URL('main.js', import.meta.url));

jest.setTimeout(600_000);

/** Runs simulations in a process; what it prints at the end. */
async function run(...args: readonly string[]): Promise<unknown> {
  const printed = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [PROGRAM, ...args], { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (stdout.startsWith('{') || stdout.startsWith('[')) resolve(stdout);
      else reject(error ?? new Error(stderr));
      // The traces of simulations that have failed.
      process.stderr.write(stderr);
    });
  });
  return JSON.parse(printed);
}

describe('simulated servers', () => {
  it('keep all invariants, whatever fails and in whatever order', async () => {
    const { failures, seeds, kinds } = (await run('--seeds', String(SEEDS))) as Summary;
    expect(failures).toEqual([]);
    expect(seeds).toBeGreaterThanOrEqual(SEEDS);
    // A fault that no longer occurs tests nothing.
    expect(Object.entries(kinds).filter(([, count]) => count < 10)).toEqual([]);
  });

  it('do the same for the same seeds', async () => {
    const once = (await run('--first', '1', '--seeds', '80')) as Summary;
    const again = (await run('--first', '1', '--seeds', '80')) as Summary;
    const others = (await run('--first', '2', '--seeds', '80')) as Summary;
    expect(again.digest).toBe(once.digest);
    expect(others.digest).not.toBe(once.digest);
  });

  it('show defects that are put into the server', async () => {
    const found = (await run('--mutations')) as readonly Found[];
    expect(found.filter(({ expected }) => !expected)).toEqual([]);
  });
});

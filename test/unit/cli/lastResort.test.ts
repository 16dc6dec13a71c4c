/** Unhandled errors, one in each kind of asynchronous resource: the server drains, once, and does not crash. */
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';

const PROGRAM = fileURLToPath(new URL('../../fakes/unhandled.js', import.meta.url));
const kinds = execFileSync(process.execPath, [PROGRAM], { encoding: 'utf8' }).trim().split(' ');

it.each(kinds)('an unhandled error of the kind %s', (kind) => {
  const { stdout, status, stderr } = spawnSync(process.execPath, [PROGRAM, kind], { encoding: 'utf8' });
  expect({ stdout, status, stderr }).toEqual({ stdout: 'ending\n', status: 1, stderr: '' });
});

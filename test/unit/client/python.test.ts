/** The Python client, against a scripted server of its own tests. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, jest } from '@jest/globals';
import { itWhen } from '../../support/itWhen.js';
import { missingForPython, PYTHON } from '../../support/pythonClient.js';
import { root } from '../../architecture/sourceTree.js';

jest.setTimeout(180_000);

const CLIENT = join(root, 'clients', 'python');

itWhen('the Python client', missingForPython('grpc', 'google.protobuf'))(
  'the Python client passes its own tests',
  () => {
    const { status, stderr } = spawnSync(PYTHON, ['-W', 'error::ResourceWarning', '-m', 'unittest', 'test_client'], {
      cwd: join(CLIENT, 'tests'),
      env: { ...process.env, PYTHONPATH: CLIENT, PYTHONDONTWRITEBYTECODE: '1' },
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringMatching(/^Ran \d\d+ tests in [^]*^OK/m) });
  },
);

it('the Python client has the version of the project', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect(readFileSync(join(CLIENT, 'guestfs_grpc', '__init__.py'), 'utf8')).toContain(`__version__ = "${version}"\n`);
});

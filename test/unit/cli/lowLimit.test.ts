/** A server that may open hardly any files. */
import { execFile } from 'node:child_process';
import { expect, it } from '@jest/globals';
import { MAIN, plainEnvironment } from '../../support/testServer.js';

it.each([40, 64, 200])(
  'a limit of %i file descriptors is refused at the start, with the reason and no stack',
  async (limit) => {
    const [code, output] = await new Promise<[unknown, string]>((resolve) => {
      execFile(
        'bash',
        ['-c', `ulimit -n ${limit}; exec "$@"`, 'bash', process.execPath, MAIN, 'serve', '--listen', '127.0.0.1:0'],
        { env: plainEnvironment() },
        (error, stdout, stderr) => resolve([error?.code, stdout + stderr]),
      );
    });
    expect(output).toMatch(
      new RegExp(
        `^guestfs-grpc: the limit of file descriptors \\(ulimit -n\\) is ${limit}, and the server needs at least 256: [^\n]*\n$`,
      ),
    );
    expect(code).toBe(1);
  },
);

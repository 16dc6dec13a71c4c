/** The examples do what they say, against a real server. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { serverForTests } from '../support/scene.js';

const EXAMPLES = fileURLToPath(new URL('../../../examples', import.meta.url));
const COMPILED = fileURLToPath(new URL('../../examples', import.meta.url));
/** Debian's own Python: the one for which its packages bring modules. */
const PYTHON = '/usr/bin/python3';
const IMAGE_SIZE_MIB = 32;

const output = async (program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> =>
  (await promisify(execFile)(program, args, { env: { ...process.env, ...env } })).stdout;

function works(program: string, ...args: readonly string[]): boolean {
  try {
    run(program, ...args);
    return true;
  } catch {
    return false;
  }
}

/** `it` for an example whose tool may not be installed. */
function itWith(tool: string, there: boolean): typeof it | typeof it.skip {
  if (!there) process.stderr.write(`\nSKIPPED: the example for ${tool}: it is not installed\n\n`);
  return there ? it : it.skip;
}

const hasPython =
  works(PYTHON, '-c', 'import grpc, google.protobuf') &&
  (existsSync('/usr/bin/grpc_python_plugin') || works(PYTHON, '-c', 'import grpc_tools'));
const hasGrpcurl = works('grpcurl', '-version');

describeWithAppliance('first calls', () => {
  const scene = serverForTests();
  let generated: string;

  beforeAll(async () => {
    generated = await mkdtemp(join(tmpdir(), 'python-'));
    const image = emptyImage(join(scene.server.images, 'disk.img'), IMAGE_SIZE_MIB);
    run('mke2fs', '-q', '-t', 'ext4', '-F', image);
  });
  afterAll(async () => {
    await rm(generated, { recursive: true, force: true });
  });

  describe.each([
    {
      language: 'TypeScript',
      there: true,
      call: (address: string) => output(process.execPath, [join(COMPILED, 'typescript', 'firstCall.js'), address]),
    },
    {
      language: 'Python',
      there: hasPython,
      call: async (address: string) => {
        await output(join(EXAMPLES, 'python', 'generate.sh'), [generated], { PYTHON });
        return output(PYTHON, ['-B', join(EXAMPLES, 'python', 'first_call.py'), address], { PYTHONPATH: generated });
      },
    },
    {
      language: 'grpcurl',
      there: hasGrpcurl,
      call: (address: string) => output(join(EXAMPLES, 'grpcurl', 'first-call.sh'), [address]),
    },
  ])('in $language', ({ language, there, call }) => {
    itWith(language, there)('list file systems and files', async () => {
      const text = await call(scene.server.address);
      expect(text).toContain('/dev/sda');
      expect(text).toContain('ext4');
      expect(text).toContain('lost+found');
      // The session was deleted, and its machine is gone.
      expect(scene.server.machines()).toEqual([]);
    });
  });
});

/** The examples do what they say, against a real server. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { missingForGo, runGo } from '../support/goClient.js';
import { itWhen } from '../support/itWhen.js';
import { missingForPython, runPython } from '../support/pythonClient.js';
import { serverForTests } from '../support/scene.js';

const EXAMPLES = fileURLToPath(new URL('../../../examples', import.meta.url));
const COMPILED = fileURLToPath(new URL('../../examples', import.meta.url));
/** Debian's own Python: the one for which its packages bring modules. */
const PYTHON = '/usr/bin/python3';
const IMAGE_SIZE_MIB = 32;
const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
// The first run compiles gRPC for Go.
const TIME_LIMIT_MS = 600_000;

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

describeWithAppliance('the examples', () => {
  const scene = serverForTests();
  let generated: string;
  let compiled: string | undefined;

  /** A directory with stubs for Connect, from where Node.js finds the project's packages. */
  async function connectStubs(): Promise<string> {
    compiled = await mkdtemp(join(COMPILED, 'connect-'));
    const buf = join(PROJECT, 'node_modules', '.bin', 'buf');
    const template = join(EXAMPLES, 'connect', 'buf.gen.yaml');
    const bin = dirname(buf);
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
    await promisify(execFile)(buf, ['generate', '--template', template, '-o', compiled], { cwd: PROJECT, env });
    return compiled;
  }

  beforeAll(async () => {
    generated = await mkdtemp(join(tmpdir(), 'python-'));
    const image = emptyImage(join(scene.server.images, 'disk.img'), IMAGE_SIZE_MIB);
    run('mke2fs', '-q', '-t', 'ext4', '-F', image);
  });
  afterAll(async () => {
    await rm(generated, { recursive: true, force: true });
    if (compiled !== undefined) await rm(compiled, { recursive: true, force: true });
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

  // The languages whose programs take longer to build: npm run test:clients.
  describe.each([
    {
      language: 'TypeScript',
      missing: undefined,
      drive: (address: string) => output(process.execPath, [join(COMPILED, 'typescript', 'drive.js'), address]),
    },
    {
      language: 'Connect',
      missing: undefined,
      drive: async (address: string) => {
        const program = join(await connectStubs(), 'drive.mjs');
        await cp(join(EXAMPLES, 'connect', 'drive.mjs'), program);
        return output(process.execPath, [program, address]);
      },
    },
    {
      language: 'Python',
      missing: missingForPython('grpc', 'google.protobuf'),
      drive: (address: string) => runPython([join(EXAMPLES, 'python', 'drive.py'), address]),
    },
    {
      language: 'Go',
      missing: missingForGo(),
      drive: (address: string) => runGo(['run', '.', address], join(EXAMPLES, 'go')),
    },
  ])('in $language', ({ language, missing, drive }) => {
    itWhen(`the example for ${language}`, missing)(
      'makes a file system, sends a file and gets it back, meets an error, cancels a transfer',
      async () => {
        expect(await drive(scene.server.address)).toBe(await readFile(join(EXAMPLES, 'drive.txt'), 'utf8'));
        expect(scene.server.machines()).toEqual([]);
      },
      TIME_LIMIT_MS,
    );
  });
});

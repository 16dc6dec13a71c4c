/** The Python client on real appliances: what it gives is what libguestfs's own binding gives. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { root } from '../architecture/sourceTree.js';
import { builtAppliance, describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { itWhen } from '../support/itWhen.js';
import { missingForPython, runPython } from '../support/pythonClient.js';
import { serverForTests } from '../support/scene.js';

const TESTS = join(root, 'clients', 'python', 'tests');
const IMAGE_SIZE_MIB = 100;
/** A checkout of libguestfs, for its own tests of its binding. */
const SOURCES = process.env['GUESTFS_GRPC_LIBGUESTFS_SOURCES'];

/** Tests of libguestfs that look inside the process, or need what is not on this machine. */
const NOT_OVER_NETWORK: Readonly<Record<string, string>> = {
  'test050HandleProperties.Test050HandleProperties.test_add_cdrom':
    'attaches /dev/zero, without a launch; here, a device that is no disk is refused at once',
  test090RetValues: 'functions that only libguestfs built for its tests has',
  test820RHBZ912499: 'needs the libvirt backend',
  test830RHBZ1406906: 'expects that names that are not UTF-8 cannot be read; here they can',
  test910Libvirt: 'needs a libvirt domain of a test driver, inside the process',
};

/** Runs the tests of a module, except those whose names are given. */
const RUNNER = `
import sys, unittest
module, *without = sys.argv[1:]
def tests(suite):
    return [one for part in suite for one in (tests(part) if isinstance(part, unittest.TestSuite) else [part])]
wanted = [test for test in tests(unittest.defaultTestLoader.loadTestsFromName(module)) if test.id() not in without]
sys.exit(not (wanted and unittest.TextTestRunner().run(unittest.TestSuite(wanted)).wasSuccessful()))`;

/** Errors of libguestfs and of the service are of the same type and about the same thing, not the same words. */
const comparable = (output: string): string =>
  output
    .split('\n')
    .map((line) => line.replace(/(?<= failed: RuntimeError ).*?(?=No such file|File exists|$).*$/, ''))
    .join('\n');

const missing = missingForPython('grpc', 'google.protobuf');
const oldAppliance = builtAppliance('bookworm');
const missingLibrary =
  missing ??
  missingForPython('guestfs') ??
  (oldAppliance === undefined ? "there is no appliance for the installed libguestfs's version" : undefined);

describeWithAppliance('the Python client', () => {
  const scene = serverForTests({
    flags: ['--debug-service', '--allow', 'host-actions'],
  });
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'python-client-'));
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  itWhen('the Python client', missing)('works with events, cancellation, files and several handles', async () => {
    await runPython([join(TESTS, 'live.py'), scene.server.address]);
  });

  itWhen('comparison with libguestfs', missingLibrary)(
    "gives what libguestfs's own binding gives, types included",
    async () => {
      const script = async (name: string, options: Parameters<typeof runPython>[1]): Promise<string> => {
        const image = emptyImage(join(scene.server.images, `${name}.img`), IMAGE_SIZE_MIB);
        const local = await mkdtemp(join(directory, `${name}-`));
        const output = await runPython([join(TESTS, 'same_script.py'), image, local], options);
        return comparable(output.replaceAll(local, 'LOCAL').replaceAll(image, 'IMAGE'));
      };
      const theirs = script('theirs', {
        library: true,
        env: { FORCE_TCG: '1', LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_PATH: oldAppliance ?? '' },
      });
      const ours = script('ours', { env: { GUESTFS_GRPC_SERVER: scene.server.address } });
      expect(await ours).toBe(await theirs);
    },
  );

  describe("libguestfs's own tests of its binding", () => {
    const t = SOURCES === undefined ? undefined : join(SOURCES, 'python', 't');
    const missingTests =
      missing ?? (t === undefined || !existsSync(t) ? 'GUESTFS_GRPC_LIBGUESTFS_SOURCES names no sources' : undefined);

    itWhen('libguestfs/python/t', missingTests)('pass unchanged', async () => {
      const copy = scene.server.images;
      await cp(t ?? '', join(copy, 't'), { recursive: true });
      // What libguestfs's own build makes of it.
      const helper = await readFile(join(copy, 't', 'tests_helper.py.in'), 'utf8');
      await writeFile(join(copy, 't', 'tests_helper.py'), helper.replace('@LIBVIRT_LIBS@', ''));
      const names = (await readdir(join(copy, 't')))
        .filter((name) => /^test\d.*\.py$/.test(name))
        .map((name) => name.slice(0, -'.py'.length))
        .filter((name) => !(name in NOT_OVER_NETWORK));
      expect(names.length).toBeGreaterThan(10);
      // Relative names of images are in the image root, as they are in the working directory of libguestfs.
      const server = { GUESTFS_GRPC_SERVER: scene.server.address };
      const without = Object.keys(NOT_OVER_NETWORK).map((name) => `t.${name}`);
      for (const name of names) await runPython(['-c', RUNNER, `t.${name}`, ...without], { cwd: copy, env: server });
    });

    it.each(Object.entries(NOT_OVER_NETWORK))('%s is left out: %s', (name) => {
      if (t !== undefined) expect(existsSync(join(t, `${name.replace(/\..*/, '')}.py`))).toBe(true);
    });
  });

  itWhen('a local server', missing)('starts a server of its own, and ends it', async () => {
    const program = [
      'import guestfs, os, sys',
      'g = guestfs.GuestFS()',
      'g.disk_create("own.img", "qcow2", 1 << 30)',
      'g.add_drive("own.img")',
      'print(g._connection.address, os.path.exists("own.img"))',
    ].join('\n');
    const temporary = await mkdtemp(join(directory, 'tmp-'));
    const output = await runPython(['-c', program], { cwd: temporary, env: { TMPDIR: temporary } });
    expect(output).toMatch(/^unix:.*socket True\n$/);
    // The server's templates stay for the next one, as libguestfs's appliance does.
    expect((await readdir(temporary)).filter((name) => !/^guestfs-grpc-\d+$/.test(name))).toEqual(['own.img']);
  });
});

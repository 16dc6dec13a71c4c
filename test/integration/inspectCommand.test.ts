/** `guestfs-grpc inspect`, as it is installed, against a server. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from '@jest/globals';
import { root } from '../architecture/sourceTree.js';
import { describeWithAppliance } from '../support/appliance.js';
import { ext4Image } from '../support/guests/ext4Image.js';
import { smallDebian } from '../support/guests/oddSystems.js';
import { serverForTests } from '../support/scene.js';

const { problemOf } = (await import(pathToFileURL(join(root, 'scripts/supply/cyclonedx.mjs')).href)) as {
  problemOf(document: string): Promise<string | undefined>;
};
const run = promisify(execFile);
const COMMAND = join(root, 'bin', 'guestfs-grpc.mjs');

describeWithAppliance('guestfs-grpc inspect', () => {
  const scene = serverForTests();
  const inspect = (...args: readonly string[]): Promise<{ stdout: string; stderr: string }> =>
    run(process.execPath, [COMMAND, 'inspect', '--server', scene.server.address, ...args]);

  beforeAll(() => {
    ext4Image(join(scene.server.images, 'debian.img'), smallDebian(['bash', 'zsh'], '/dev/root / ext4 defaults 0 1\n'));
  });

  it('prints a bill of materials that a scanner can use', async () => {
    const { stdout } = await inspect('--format', 'cyclonedx', '--image-format', 'raw', 'debian.img');
    expect(await problemOf(stdout)).toBeUndefined();
    expect(JSON.parse(stdout).components).toMatchObject([
      { type: 'operating-system', name: 'debian', version: '13' },
      { type: 'library', name: 'bash', version: '1:2.0-1', purl: expect.stringContaining('pkg:deb/debian/bash@') },
      { type: 'library', name: 'zsh' },
    ]);
  });

  it('prints the whole report as JSON', async () => {
    const { stdout } = await inspect('debian.img');
    expect(JSON.parse(stdout)).toMatchObject({
      image: { roots: ['/dev/sda'] },
      systems: [{ root: '/dev/sda', hostname: 'small', applications: [{ app2_name: 'bash' }, { app2_name: 'zsh' }] }],
    });
  });

  it.each([
    [['nowhere.img'], 1, /^guestfs-grpc: InspectionService\/Inspect: NOT_FOUND .*nowhere\.img/],
    [[], 2, /^guestfs-grpc: missing required argument 'images'\nTry --help\.\n$/],
    [['--server', 'nonsense', 'debian.img'], 1, /^guestfs-grpc: nonsense is not the address of a server/],
  ])('fails with %j, and says why', async (args, code, message) => {
    await expect(inspect(...args)).rejects.toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
  });
});

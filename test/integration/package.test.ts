/** The npm package: packed from what is compiled, installed where nothing else of the project is, and run there. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { SERVER_VERSION } from '../../src/common/version.js';
import { root } from '../architecture/sourceTree.js';
import { describeWithAppliance } from '../support/appliance.js';
import { SessionClient, scratchDrive, TestClient } from '../support/testClient.js';
import { CLEAN_END, startTestServer, type TestServer } from '../support/testServer.js';

const INSTALL_LIMIT_MS = 300_000;

describeWithAppliance('the npm package', () => {
  const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-package-'));
  const place = join(directory, 'installed');
  const command = join(place, 'node_modules', '.bin', 'guestfs-grpc');
  let server: TestServer | undefined;

  const npm = (cwd: string, ...args: readonly string[]): string =>
    execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

  beforeAll(() => {
    // Without "prepack", which would compile under the feet of other tests.
    const [packed] = JSON.parse(npm(root, 'pack', '--json', '--ignore-scripts', '--pack-destination', directory)) as {
      readonly filename: string;
    }[];
    mkdirSync(place);
    writeFileSync(join(place, 'package.json'), '{"private": true}');
    const quiet = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
    npm(place, 'install', ...quiet, join(directory, packed?.filename ?? ''));
  }, INSTALL_LIMIT_MS);
  afterAll(async () => {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('says its version', () => {
    expect(execFileSync(command, ['--version'], { encoding: 'utf8' })).toBe(`guestfs-grpc ${SERVER_VERSION}\n`);
  });

  it('explains its commands', () => {
    const help = (name: string): string => execFileSync(command, [name, '--help'], { encoding: 'utf8' });
    expect(help('serve')).toContain('Usage: guestfs-grpc serve [FLAGS]');
    expect(help('template')).toContain('Usage: guestfs-grpc template [FLAGS]');
    expect(help('appliance')).toContain('--suite NAME');
    expect(help('inspect')).toContain('Usage: guestfs-grpc inspect [OPTIONS] IMAGE...');
    expect(help('gateway')).toContain('Usage: guestfs-grpc gateway [FLAGS]');
    expect(help('drain')).toContain('Usage: guestfs-grpc drain [options]');
  });

  it('serves a session', async () => {
    server = await startTestServer({ command });
    const client = new TestClient(server.address);
    try {
      const { id } = await client.createSession({ drives: [scratchDrive(64 << 20)], launch: true });
      const session = new SessionClient(client, id);
      expect(await session.call('list_devices')).toEqual(['/dev/sda']);
      await client.deleteSession(id);
    } finally {
      client.close();
    }
    const running = server;
    server = undefined;
    expect(await running.stop()).toEqual(CLEAN_END);
  });
});

/** Signals and the command for operators, with the real server in a process of its own. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { eventually } from '../support/eventually.js';
import { serverForTests } from '../support/scene.js';
import { failureOf, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, MAIN, plainEnvironment, startTestServer, type TestServer } from '../support/testServer.js';

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function drain(...flags: readonly string[]): Ran {
  const options = { env: plainEnvironment(), encoding: 'utf8' } as const;
  return spawnSync(process.execPath, [MAIN, 'drain', ...flags], options);
}

function metricsAddress(server: TestServer): string {
  return String(logged(server, 'serving metrics').at(-1)?.['address']);
}

describe('a server without anything to reload', () => {
  const scene = serverForTests();

  it('survives SIGHUP', async () => {
    scene.server.process.kill('SIGHUP');
    await eventually(() => logged(scene.server, 'reloading what can be reloaded').length === 1);
    await scene.client.createSession();
  });
});

describe('guestfs-grpc drain', () => {
  it('closes the server to new sessions, waits for the others, and says how many are left', async () => {
    const server = await startTestServer({ flags: ['--metrics-listen', '127.0.0.1:0'] });
    const client = new TestClient(server.address);
    const { id } = await client.createSession();
    const pid = String(server.process.pid);
    const metrics = metricsAddress(server);
    expect(drain('--pid', pid, '--wait', '1', '--metrics', metrics)).toMatchObject({
      status: 0,
      stdout: 'sessions left: 1\n',
    });
    expect((await failureOf(client.createSession())).info?.reason).toBe('SHUTTING_DOWN');
    const ready = async (path: string): Promise<number> => (await fetch(`http://${metrics}${path}`)).status;
    expect([await ready('/readyz'), await ready('/readyz/sessions')]).toEqual([200, 503]);
    await client.getSession(id);
    await client.deleteSession(id);
    expect(drain('--pid', pid, '--wait', '60', '--metrics', metrics)).toMatchObject({
      status: 0,
      stdout: 'sessions left: 0\n',
    });
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  it.each([
    [['--wait', '1'], 2, '--metrics'],
    [['--wait', 'long'], 2, 'long'],
    [['--nonsense'], 2, '--nonsense'],
    [['--pid', '0'], 2, '0'],
    [['--pid', '4194305'], 1, 'process 4194305 cannot be drained'],
    [['--help'], 0, ''],
  ])('with %j exits with %i', (flags, status, message) => {
    const ran = drain(...flags);
    expect(ran.status).toBe(status);
    expect(ran.stderr).toContain(message);
  });
});

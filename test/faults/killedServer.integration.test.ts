/** A server that is killed (SIGKILL) at each step of a launch. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { eventually } from '../support/eventually.js';
import { processesThatMention } from '../support/processes.js';
import { scratchDrive, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer, type TestServer } from '../support/testServer.js';

/** The steps of a launch that can be seen from outside, in order. */
const STEPS: readonly (readonly [string, (server: TestServer) => boolean])[] = [
  ['before the launch', () => true],
  ['its run directory exists', ({ temporary }) => readdirSync(temporary).length > 0],
  ['a process was started', (server) => processesThatMention(server.temporary).length > 1],
  ['qemu runs', (server) => server.machines().some(({ name }) => name.startsWith('qemu'))],
  ['qemu has opened its drives', (server) => logged(server, 'qemu started').length > 0],
  ['the appliance is up', (server) => logged(server, 'appliance is up').length > 0],
];

describeWithAppliance('a server that is killed in a launch', () => {
  let temporary: string;
  beforeAll(() => {
    temporary = mkdtempSync(join(tmpdir(), 'killed-server-'));
  });
  afterAll(() => rmSync(temporary, { recursive: true }));

  it.each(STEPS)('when %s leaves no process', async (_step, reached) => {
    const server = await startTestServer({ flags: ['--launch', 'cold'], temporary });
    const client = new TestClient(server.address);
    const launched = client.createSession({ drives: [scratchDrive(1 << 20)], launch: true }).catch(() => undefined);
    while (!reached(server)) await new Promise((resolve) => setTimeout(resolve, 1));
    server.process.kill('SIGKILL');
    await launched;
    client.close();
    await eventually(() => processesThatMention(temporary).length === 0, 5000);
    await server.stop('SIGKILL');
    expect(existsSync(server.images)).toBe(false);
  });

  it('leaves no run directory either, once there is a server again', async () => {
    const server = await startTestServer({ flags: ['--launch', 'cold'], temporary });
    expect(readdirSync(temporary)).toEqual([]);
    expect(await server.stop()).toEqual(CLEAN_END);
  });
});

/** The command `guestfs-grpc gateway` in front of a real server, called by curl. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { freePort } from '../support/diskServers.js';
import { eventually } from '../support/eventually.js';

import { MAIN, plainEnvironment, startTestServer, type TestServer } from '../support/testServer.js';

const run = promisify(execFile);

let server: TestServer;
let gateway: ChildProcess;
let address: string;
let operations: string;

async function curl(rpc: string, body: object, ...more: readonly string[]): Promise<unknown> {
  const url = `http://${address}/guestfs.v1.${rpc}`;
  const { stdout } = await run('curl', [
    ...['-sS', '-d', JSON.stringify(body), url, '-H', 'content-type: application/json'],
    ...more,
  ]);
  return JSON.parse(stdout);
}

beforeAll(async () => {
  server = await startTestServer({ flags: ['--launch', 'cold'] });
  operations = `127.0.0.1:${await freePort()}`;
  const flags = ['--listen', '127.0.0.1:0', '--server', server.address, '--metrics-listen', operations];
  gateway = spawn(process.execPath, [MAIN, 'gateway', ...flags, '--drain-delay', '2'], {
    env: plainEnvironment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: gateway.stdout as NonNullable<typeof gateway.stdout> });
  const [line] = (await once(lines, 'line')) as [string];
  address = line.replace('listening on ', '');
}, 300_000);
afterAll(async () => {
  if (gateway.exitCode === null) {
    gateway.kill('SIGKILL');
    await once(gateway, 'exit');
  }
  await server.stop();
}, 120_000);

it('curl creates, sees and deletes a session', async () => {
  expect(await curl('SessionService/ListSessions', {})).toMatchObject({ sessions: [] });
  const { id } = (await curl('SessionService/CreateSession', { drives: [{ scratchSize: '1048576' }] })) as {
    id: string;
  };
  expect(await curl('SessionService/ListSessions', {})).toMatchObject({
    sessions: [{ id, state: 'SESSION_STATE_CONFIG' }],
  });
  expect(await curl('PropertyService/GetSmp', {}, '-H', `guestfs-session: ${id}`)).toEqual({ smp: 1 });
  expect(await curl('FileService/Cat', { path: '/' }, '-H', `guestfs-session: ${id}`)).toMatchObject({
    code: 'failed_precondition',
  });
  await curl('SessionService/DeleteSession', { id });
  expect(await curl('SessionService/ListSessions', {})).toMatchObject({ sessions: [] });
}, 60_000);

/** What the gateway tells operators. */
async function asked(path: string): Promise<readonly [number, string]> {
  const response = await fetch(`http://${operations}${path}`);
  return [response.status, await response.text()];
}

it('operators see that it is alive, ready, and what it does', async () => {
  expect(await asked('/healthz')).toEqual([200, 'ok\n']);
  expect(await asked('/readyz')).toEqual([200, 'ok\n']);
  expect(await asked('/readyz/sessions')).toEqual([404, 'not found: /metrics, /healthz, /readyz\n']);
  const [, metrics] = await asked('/metrics');
  expect(metrics).toMatch(/^guestfs_gateway_calls_total\{protocol="connect",grpc_code="OK"\} \d+$/m);
  expect(metrics).toMatch(/^guestfs_gateway_calls_total\{protocol="connect",grpc_code="FAILED_PRECONDITION"\} 1$/m);
  expect(metrics).toMatch(/^process_resident_memory_bytes \d+/m);
}, 60_000);

it('ends by a signal, after it has served on for a while, with exit code 0', async () => {
  const ended = once(gateway, 'exit');
  gateway.kill('SIGTERM');
  await eventually(async () => (await asked('/readyz'))[0] === 503);
  expect(await asked('/readyz')).toEqual([503, 'the gateway is shutting down\n']);
  expect(await curl('SessionService/ListSessions', {})).toMatchObject({ sessions: [] });
  expect(await ended).toEqual([0, null]);
}, 60_000);

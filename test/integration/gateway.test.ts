/** The command `guestfs-grpc gateway` in front of a real server, called by curl. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { MAIN, plainEnvironment, startTestServer, type TestServer } from '../support/testServer.js';

const run = promisify(execFile);

let server: TestServer;
let gateway: ChildProcess;
let address: string;

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
  gateway = spawn(process.execPath, [MAIN, 'gateway', '--listen', '127.0.0.1:0', '--server', server.address], {
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

it('ends by a signal, with exit code 0', async () => {
  gateway.kill('SIGTERM');
  expect(await once(gateway, 'exit')).toEqual([0, null]);
}, 60_000);

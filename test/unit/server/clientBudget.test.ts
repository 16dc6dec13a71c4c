/** Limits for all sessions of one client together. */
import { status } from '@grpc/grpc-js';
import { afterEach, expect, it } from '@jest/globals';
import { startFakeServer, type FakeServer, type FakeServerOptions } from '../../fakes/server.js';
import { failureOf } from '../../support/testClient.js';

let server: FakeServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

/** The fake server has four sessions, three of which have an appliance of 1280 MiB, one CPU and one drive. */
async function serve(budget: Partial<NonNullable<FakeServerOptions['budget']>>): Promise<FakeServer> {
  const none = { sessions: undefined, memsizeMb: undefined, smp: undefined, drives: undefined };
  server = await startFakeServer({ allowed: [], debugService: false, budget: { ...none, ...budget } });
  return server;
}

const refusal = (limit: string, maximum: number): object => ({
  code: status.RESOURCE_EXHAUSTED,
  info: { reason: 'LIMIT_EXCEEDED', metadata: expect.objectContaining({ limit, maximum: String(maximum) }) },
});

it('limits the number of sessions', async () => {
  const { client, registry } = await serve({ sessions: 5 });
  await client.createSession({ session_id: 'one' });
  expect(await failureOf(client.createSession())).toMatchObject(refusal('max-sessions-per-client', 5));
  expect(registry.size).toBe(5);
  await client.deleteSession('one');
  await client.createSession();
});

it.each([
  ['max-memory-per-client', 5000, { memsizeMb: 5000 }, { memsizeMb: 5000 }],
  ['max-cpus-per-client', 5, { smp: 5 }, { smp: 5 }],
  ['max-drives-per-client', 3, { drives: 3 }, {}],
])('limits %s; sessions count once they have an appliance', async (limit, maximum, budget, given) => {
  const { sessions, registry } = await serve(budget);
  const config = registry.get('CONFIG', undefined);
  Object.assign(config.settings, given);
  expect(await failureOf(sessions.CONFIG.call('launch'))).toMatchObject(refusal(limit, maximum));
  expect(config.state).toBe('CONFIG');
});

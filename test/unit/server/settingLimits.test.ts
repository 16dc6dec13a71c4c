/** The limits of settings, and that nothing is done if they are exceeded. */
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { eventually } from '../../support/eventually.js';
import { settings } from '../../support/scene.js';
import { failureOf, SessionClient } from '../../support/testClient.js';

let server: FakeServer;
beforeAll(async () => {
  server = await startFakeServer({
    allowed: ['host-actions'],
    debugService: false,
    limits: { memsizeMb: 2000, smp: 4, idleTimeoutMs: 600_000 },
  });
});
afterAll(() => server.stop());

const refused = (limit: string, maximum: number): object => ({
  code: status.RESOURCE_EXHAUSTED,
  details: expect.stringMatching(new RegExp(`at most ${maximum}\\b`)),
  info: { reason: 'LIMIT_EXCEEDED', metadata: expect.objectContaining({ limit, maximum: String(maximum) }) },
});

describe('CreateSession with', () => {
  it.each([
    ['memsize', { settings: settings({ memsize: 2001 }) }, 'max-memsize', 2000],
    ['memsize, however few CPUs', { settings: settings({ memsize: 23_000, smp: 64 }) }, 'max-memsize', 2000],
    ['smp', { settings: settings({ smp: 5 }) }, 'max-smp', 4],
    ['idle_timeout', { idle_timeout: { seconds: 601n, nanos: 0 } }, 'max-idle-timeout', 600],
    [
      'launch_timeout',
      { settings: settings({ launch_timeout: { seconds: 3601n, nanos: 0 } }) },
      'launch_timeout',
      3600,
    ],
  ])('too much of %s is refused, without creating a session', async (_what, request, limit, maximum) => {
    const before = server.registry.size;
    expect(await failureOf(server.client.createSession(request))).toMatchObject(refused(limit, maximum));
    expect(server.registry.size).toBe(before);
  });

  it('exactly the limit is accepted', async () => {
    const { id } = await server.client.createSession({
      settings: settings({ memsize: 2000, smp: 4, launch_timeout: { seconds: 3600n, nanos: 0 } }),
      idle_timeout: { seconds: 600n, nanos: 0 },
    });
    await server.client.deleteSession(id);
  });
});

describe('a session', () => {
  it.each([
    ['set_memsize', { memsize: 2001 }, 'max-memsize', 2000],
    ['set_smp', { smp: 5 }, 'max-smp', 4],
    ['parse_environment_list', { environment: ['LIBGUESTFS_MEMSIZE=2001'] }, 'max-memsize', 2000],
    ['set_identifier', { identifier: 'x'.repeat(1025) }, 'identifier', 1024],
    ['set_program', { program: 'x'.repeat(1025) }, 'program', 1024],
    ['set_append', { append: 'x'.repeat(1025) }, 'append', 1024],
  ])('cannot be given more by %s', async (action, request, limit, maximum) => {
    const failed = server.sessions.CONFIG.call(action, request);
    expect(await failureOf(failed)).toMatchObject(refused(limit, maximum));
  });
});

describe('a maximum age', () => {
  it('ends a session that is in use', async () => {
    const aged = await startFakeServer({ allowed: [], debugService: false, maxAgeMs: 5000 });
    try {
      const { id } = await aged.client.createSession();
      const { expire_time: expires, create_time: created } = await aged.client.getSession(id);
      expect(Number(expires) - Number(created)).toBe(5000);
      const session = new SessionClient(aged.client, id);
      await eventually(async () => {
        const outcome = await session.call('get_memsize').then(
          () => 'there',
          () => 'gone',
        );
        return outcome === 'gone';
      }, 10_000);
    } finally {
      await aged.stop();
    }
  }, 20_000);
});

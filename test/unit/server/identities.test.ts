/** What clients with certificates of the same authority can see of each other, on a real server with TLS. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SessionServiceService, type Session } from '../../../gen/proto/guestfs/v1/session.js';
import { createIdentify } from '../../../src/server/identify.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { failureOf, SessionClient, type TestClient } from '../../support/testClient.js';

const SPIFFE = 'spiffe://mesh/ns/prod/sa/build';

async function sessionsOf(client: TestClient): Promise<Session[]> {
  return (await client.call(SessionServiceService.listSessions, { page_size: 0, page_token: '', all_replicas: false }))
    .sessions;
}

let authority: Authority;
let server: SecureServer;
beforeAll(async () => {
  authority = startAuthority();
  server = await startSecureServer(authority);
});
afterAll(async () => {
  await server.stop();
  authority.end();
});

describe('a common name that looks like a URI', () => {
  it('is not that URI', async () => {
    const account = server.client({ alternative: [['URI', SPIFFE]] });
    const impostor = server.client({ subject: `/CN=${SPIFFE.replaceAll('/', '\\/')}` });
    const { id } = await account.createSession();
    expect(server.registry.list(`uri:${SPIFFE}`).map((session) => session.id)).toEqual([id]);
    expect((await failureOf(impostor.getSession(id))).info?.reason).toBe('SESSION_UNKNOWN');
    await account.deleteSession(id);
  });
});

describe('an ID of a session', () => {
  it('belongs to an identity: others neither see it nor occupy it', async () => {
    const [alice, bob] = [server.client({ subject: '/CN=alice' }), server.client({ subject: '/CN=bob' })];
    const labels = (name: string): Map<string, string> => new Map([['of', name]]);
    const unknown = await failureOf(bob.getSession('build'));
    await alice.createSession({ session_id: 'build', labels: labels('alice') });
    // Neither answer has changed.
    expect(await failureOf(bob.getSession('build'))).toMatchObject({ code: 5, details: unknown.details });
    expect(await failureOf(bob.deleteSession('build'))).toMatchObject({ code: 5, details: unknown.details });
    expect((await failureOf(new SessionClient(bob, 'build').call('get_memsize'))).details).toBe(unknown.details);
    expect(await sessionsOf(bob)).toEqual([]);

    await bob.createSession({ session_id: 'build', labels: labels('bob') });
    expect((await failureOf(bob.createSession({ session_id: 'build' }))).info?.reason).toBe('SESSION_EXISTS');
    expect((await alice.getSession('build')).labels.get('of')).toBe('alice');
    expect((await sessionsOf(bob)).map((session) => session.labels.get('of'))).toEqual(['bob']);
    await new SessionClient(bob, 'build').call('set_memsize', { memsize: 777 });
    expect(await new SessionClient(alice, 'build').call('get_memsize')).not.toBe(777);

    await bob.deleteSession('build');
    expect((await alice.getSession('build')).labels.get('of')).toBe('alice');
    await alice.deleteSession('build');
  });
});

describe('a kind that is not accepted', () => {
  it('gives no access', async () => {
    const uris = await startSecureServer(authority, { identify: createIdentify({ kinds: ['uri'] }) });
    try {
      const named = uris.client({ alternative: [['URI', SPIFFE]] });
      const { id } = await named.createSession();
      expect(await failureOf(uris.client({ subject: '/CN=build' }).createSession())).toMatchObject({
        code: 16,
        info: { reason: 'UNAUTHENTICATED' },
      });
      await named.deleteSession(id);
    } finally {
      await uris.stop();
    }
  });
});

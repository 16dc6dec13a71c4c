/** What clients with certificates of one authority can see and do of each other, on a real server with TLS. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createIdentify } from '../../../src/server/identify.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { failureOf } from '../../support/testClient.js';

const SPIFFE = 'spiffe://mesh/ns/prod/sa/build';

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

describe('a common name that reads like a URI', () => {
  it('is not that URI', async () => {
    const account = server.client({ alternative: [['URI', SPIFFE]] });
    const impostor = server.client({ subject: `/CN=${SPIFFE.replaceAll('/', '\\/')}` });
    const { id } = await account.createSession();
    expect(server.registry.list(`uri:${SPIFFE}`).map((session) => session.id)).toEqual([id]);
    expect((await failureOf(impostor.getSession(id))).info?.reason).toBe('SESSION_UNKNOWN');
    await account.deleteSession(id);
  });
});

describe('a kind that does not count', () => {
  it('gets nobody in', async () => {
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

/** Servers on hosts where nothing keeps the machines of two identities apart. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import { credentials } from '@grpc/grpc-js';
import { describeWhen } from '../support/appliance.js';
import { makeAuthority, makeClientCertificate, type Certificate } from '../support/certificates.js';
import { hostWith, type Means } from '../support/lesserHosts.js';
import { failureOf, TestClient } from '../support/testClient.js';
import { logged, startTestServer } from '../support/testServer.js';

jest.setTimeout(60_000);
const SOMEBODY = 65534;
const isRoot = process.geteuid?.() === 0;
let scene: string;
let authority: Certificate;
beforeAll(() => {
  scene = mkdtempSync(join(tmpdir(), 'unisolated-'));
  chmodSync(scene, 0o755);
  authority = makeAuthority(scene);
  chmodSync(authority.key, 0o644);
});
afterAll(() => rmSync(scene, { recursive: true }));

interface Host {
  readonly means: Means;
  readonly uid: number;
  readonly flags?: readonly string[];
}

/** Has two identities create sessions, one after the other. @returns the outcome of the second, and the server's log */
async function secondOn({ means, uid, flags = [] }: Host): Promise<{ outcome: unknown; kinds: unknown; said: string }> {
  const server = await startTestServer({
    ...hostWith(means, mkdtempSync(join(scene, 'host-'))),
    uid,
    flags: [
      ...['--tls-cert', authority.certificate, '--tls-key', authority.key, '--client-ca', authority.certificate],
      ...['--appliance', join(scene, 'none'), '--launch', 'cold', ...flags],
    ],
  });
  const clients = ['alice', 'bob'].map((name) => {
    const { key, certificate } = makeClientCertificate(scene, authority, { subject: `/CN=${name}` });
    const [ca, own, chain] = [authority.certificate, key, certificate].map((path) => readFileSync(path));
    return new TestClient(server.address, credentials.createSsl(ca, own, chain));
  }) as [TestClient, TestClient];
  try {
    const [alice, bob] = clients;
    await bob.deleteSession((await bob.createSession({})).id);
    const outcome = await alice.createSession({}).then(
      () => 'done',
      async (error: unknown) => (await failureOf(Promise.reject(error))).info,
    );
    await bob.createSession({});
    return { outcome, kinds: JSON.stringify(server.log().match(/"isolation":"\w+"/g)), said: server.log() };
  } finally {
    for (const client of clients) client.close();
    await server.stop();
  }
}

describeWhen('a second identity', isRoot ? undefined : 'only root can make such hosts', () => {
  it('is refused by a server that is not root, where there are neither namespaces nor Landlock', async () => {
    const { outcome, kinds, said } = await secondOn({ means: 'none', uid: SOMEBODY });
    expect(kinds).toBe('["\\"isolation\\":\\"none\\""]');
    expect(outcome).toMatchObject({ reason: 'NOT_ISOLATED' });
    expect(said).toContain('only the first identity that creates a session is served');
    expect(
      logged({ log: () => said }, 'this server serves no other identity from now on: it cannot keep several apart'),
    ).toEqual([expect.objectContaining({ identity: 'cn:bob' })]);
  });

  it('is served if the operator allows it', async () => {
    const { outcome, said } = await secondOn({ means: 'none', uid: SOMEBODY, flags: ['--insecure-isolation'] });
    expect(outcome).toBe('done');
    expect(said).toMatch(/qemu and its helpers can do whatever the server's user may do"/);
  });

  it.each([
    { means: 'none', uid: 0 },
    { means: 'landlock', uid: SOMEBODY },
    { means: 'namespaces', uid: SOMEBODY },
  ] as const)('is served where something keeps them apart: %j', async (host) => {
    const { outcome, kinds } = await secondOn(host);
    expect(kinds).toBe(`["\\"isolation\\":\\"${host.means}\\""]`);
    expect(outcome).toBe('done');
  });
});

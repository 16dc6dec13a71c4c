/** Replicas with TLS: whose calls they pass on, and whom they believe what. */
import { readFileSync, writeFileSync } from 'node:fs';
import { credentials, Metadata, status, type ChannelCredentials, type StatusObject } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { SessionServiceClient, SessionServiceService } from '../../../../gen/proto/guestfs/v1/session.js';
import { CERTIFICATE_KINDS, certificateIdentity } from '../../../../src/security/certificateIdentity.js';
import { Certificates } from '../../../../src/server/certificates.js';
import { FORWARDED_HEADER, forwardedHeader, type Forwarded } from '../../../../src/server/replicas/forwarded.js';
import { SessionKeys } from '../../../../src/server/replicas/sessionKeys.js';
import { ReplicaSet, type Replica } from '../../../fakes/replicas.js';
import { startAuthority, type Authority } from '../../../fakes/secureServer.js';
import { makeCertificate, makeClientCertificate } from '../../../support/certificates.js';
import { failureOf, SessionClient, TestClient } from '../../../support/testClient.js';

jest.setTimeout(60_000);

let authority: Authority;
let set: ReplicaSet;
let far: Replica;
let near: Replica;
const clients: TestClient[] = [];

/** The certificates of servers are those of `cn:server`. */
async function start(id: string, replicas: readonly string[]): Promise<Replica> {
  const server = makeCertificate(authority.directory, authority.certificate, 'IP:127.0.0.1');
  const certificates = await Certificates.read({ ...server, clientCa: authority.certificate.certificate });
  return set.start({
    id,
    identities: { kinds: CERTIFICATE_KINDS, replicas },
    serverCredentials: certificates.credentials(),
    peerCredentials: () =>
      certificates.peerCredentials((certificate) =>
        replicas.includes(certificateIdentity(certificate, CERTIFICATE_KINDS)) ? undefined : new Error('no replica'),
      ),
  });
}

function credentialsOf(name: string): ChannelCredentials {
  const { key, certificate } =
    name === 'server'
      ? makeCertificate(authority.directory, authority.certificate, 'IP:127.0.0.1')
      : makeClientCertificate(authority.directory, authority.certificate, { subject: `/CN=${name}` });
  const ca = readFileSync(authority.certificate.certificate);
  return credentials.createSsl(ca, readFileSync(key), readFileSync(certificate));
}

function client(name: string, { address }: Replica): TestClient {
  const made = new TestClient(address, credentialsOf(name));
  clients.push(made);
  return made;
}

/** The status of GetSession with a header that only replicas may send. */
async function posing(name: string, forwarded: Forwarded, keyFile: string, id: string): Promise<StatusObject> {
  const keys = await SessionKeys.read(keyFile);
  const metadata = new Metadata();
  metadata.set(FORWARDED_HEADER, forwardedHeader(keys, forwarded));
  const service = new SessionServiceClient(far.address, credentialsOf(name));
  const end = await new Promise<StatusObject>((resolve) =>
    service.getSession({ id }, metadata, () => undefined).once('status', resolve),
  );
  service.close();
  return end;
}

beforeAll(async () => {
  authority = startAuthority();
  set = new ReplicaSet();
  far = await start('far', ['cn:server']);
  near = await start('near', ['cn:server']);
});
afterAll(async () => {
  for (const one of clients) one.close();
  await set.stop();
  authority.end();
});

describe('a session', () => {
  it('belongs to its client at every replica, and is unknown to others', async () => {
    const [alice, there, bob] = [client('alice', far), client('alice', near), client('bob', near)];
    const { id } = await alice.createSession();
    await new SessionClient(there, id).call('set_memsize', { memsize: 777 });
    expect(await new SessionClient(alice, id).call('get_memsize')).toBe(777);
    const calls = [bob.getSession(id), bob.deleteSession(id), new SessionClient(bob, id).call('get_memsize')];
    for (const { info } of await Promise.all(calls.map((call) => failureOf(call))))
      expect(info?.reason).toBe('SESSION_UNKNOWN');
    const list = (of: TestClient) =>
      of.call(SessionServiceService.listSessions, { page_size: 0, page_token: '', all_replicas: true });
    expect((await list(there)).sessions.map((session) => session.id)).toEqual([id]);
    expect(await list(bob)).toMatchObject({ sessions: [], missing: [] });
    await there.deleteSession(id);
  });
});

describe('a request ID', () => {
  it('belongs to its client at every replica', async () => {
    const [alice, there, bob] = [client('alice', far), client('alice', near), client('bob', near)];
    await Promise.all([far.peers?.all(), near.peers?.all()]);
    const options = { requestId: 'once' };
    const { id } = await alice.createSession({}, options);
    const other = await bob.createSession({}, options);
    expect(other.id).toContain('.near.');
    expect((await there.createSession({}, options)).id).toBe(id);
    expect(near.registry.size).toBe(1);
    await Promise.all([alice.deleteSession(id), bob.deleteSession(other.id)]);
  });
});

describe('a replica', () => {
  const forClient = (): Forwarded => ({
    from: 'near',
    to: far.replicas.self,
    identity: 'cn:alice',
    client: 'cn:alice',
  });

  it('is believed with its certificate and the key', async () => {
    const alice = client('alice', far);
    const { id } = await alice.createSession();
    expect(await posing('server', forClient(), set.keyFile, id)).toMatchObject({ code: status.OK });
    await alice.deleteSession(id);
  });

  it('is not believed without its certificate', async () => {
    const alice = client('alice', far);
    const { id } = await alice.createSession();
    expect(await posing('mallory', forClient(), set.keyFile, id)).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('--peer-identities'),
    });
    await alice.deleteSession(id);
  });

  it('is not believed without the key', async () => {
    const other = new ReplicaSet();
    writeFileSync(other.keyFile, 'another key of more than 32 characters');
    expect(await posing('server', forClient(), other.keyFile, 'one')).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('no replica with this'),
    });
    await other.stop();
  });

  it('must say for whom it makes a call', async () => {
    const { identity: _none, ...nobody } = forClient() as Forwarded & { identity: string };
    expect(await posing('server', nobody, set.keyFile, 'one')).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('must identify its client'),
    });
    expect(await posing('server', { from: 'near', nonce: 'x' }, set.keyFile, 'one')).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('must identify its client'),
    });
  });

  it('with another certificate is not asked for anything', async () => {
    const strict = await start('strict', ['cn:another']);
    const alice = client('alice', far);
    const { id } = await alice.createSession();
    const error = await new SessionClient(client('alice', strict), id).failure('get_memsize');
    expect(error).toMatchObject({ code: status.UNAVAILABLE, info: { reason: 'OWNER_UNREACHABLE' } });
    await alice.deleteSession(id);
    set.list(strict.address, false);
    await strict.stop();
  });
});

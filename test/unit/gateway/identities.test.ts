/** Who the server takes the gateway's clients for. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkServerIdentity } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { createLogger } from '../../../src/common/logger.js';
import { CERTIFICATE_KINDS } from '../../../src/security/certificateIdentity.js';
import { forwardedCertificate, forwardedIdentity } from '../../../src/security/forwardedCertificate.js';
import { TokenVerifier } from '../../../src/security/tokens.js';
import { createIdentify } from '../../../src/server/identify.js';
import { PeerUsers } from '../../../src/server/peerUsers.js';
import { startGateway, http, type FakeGateway, type HttpAnswer } from '../../fakes/gateway.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import {
  makeCertificate,
  makeClientCertificate,
  type Certificate,
  type ClientNames,
} from '../../support/certificates.js';

const CREATE = '/guestfs.v1.SessionService/CreateSession';
const JSON_TYPE = { 'content-type': 'application/json' };
const ISSUER = 'https://issuer.example';
const AUDIENCE = 'guestfs';

let authority: Authority;
jest.setTimeout(30_000);

let server: SecureServer;
/** Knows its clients by certificates. */
let gateway: FakeGateway;
/** Is no proxy for the server, but has a certificate. */
let untrusted: FakeGateway;
let key: CryptoKey;
const lines: string[] = [];

/** A gateway that shows the server a certificate with this name. */
async function gatewayAs(name: string): Promise<FakeGateway> {
  const ca = readFileSync(authority.certificate.certificate);
  const own = makeClientCertificate(authority.directory, authority.certificate, { subject: `/CN=${name}` });
  const tls = makeCertificate(authority.directory, authority.certificate, 'IP:127.0.0.1');
  return startGateway(server.address, {
    tls: { cert: readFileSync(tls.certificate), key: readFileSync(tls.key), ca },
    upstream: {
      hasIdentity: true,
      credentials: () =>
        credentials.createSsl(ca, readFileSync(own.key), readFileSync(own.certificate), {
          checkServerIdentity: (_name, shown) => checkServerIdentity('127.0.0.1', shown),
        }),
    },
  });
}

beforeAll(async () => {
  authority = startAuthority();
  const keys = join(authority.directory, 'keys.json');
  const pair = await generateKeyPair('ES256');
  key = pair.privateKey;
  writeFileSync(keys, JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256' }] }));
  const tokens = await TokenVerifier.read({ keys, issuer: ISSUER, audience: AUDIENCE });
  server = await startSecureServer(authority, {
    identify: createIdentify({ kinds: CERTIFICATE_KINDS, tokens, proxies: ['cn:gateway'] }),
    logger: createLogger('debug', (line) => lines.push(line)),
  });
  gateway = await gatewayAs('gateway');
  untrusted = await gatewayAs('somebody');
}, 60_000);
afterAll(async () => {
  await gateway.stop();
  await untrusted.stop();
  await server.stop();
  authority.end();
});

/** Creates a session with a certificate for these names. */
async function create(
  { address }: FakeGateway,
  names: ClientNames | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<HttpAnswer> {
  const { directory, certificate: issuer } = authority;
  const own: Certificate | undefined = names && makeClientCertificate(directory, issuer, names);
  const request = httpsRequest(`https://${address}${CREATE}`, {
    method: 'POST',
    agent: false,
    ca: readFileSync(issuer.certificate),
    ...(own === undefined ? {} : { cert: readFileSync(own.certificate), key: readFileSync(own.key) }),
    headers: { ...JSON_TYPE, ...headers },
  });
  request.end('{}');
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString();
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

/** Who owns the session of an answer. */
function ownerOf({ text }: HttpAnswer): unknown {
  const { id } = JSON.parse(text) as { id: string };
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return records.find(({ msg, session }) => msg === 'call succeeded' && session === id)?.['identity'];
}

const sign = (): Promise<string> =>
  new SignJWT({ sub: 'ali' })
    .setProtectedHeader({ alg: 'ES256', kid: 'one' })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setExpirationTime('5m')
    .sign(key);

describe('a client of the gateway', () => {
  it.each<[string, ClientNames]>([
    [
      'uri:spiffe://mesh/ns/prod/sa/build',
      {
        alternative: [
          ['URI', 'spiffe://mesh/ns/prod/sa/build'],
          ['DNS', 'b.example'],
        ],
      },
    ],
    ['dns:build.example', { subject: '/CN=x', alternative: [['DNS', 'build.example']] }],
  ])('has the identity of its certificate: %s', async (identity, names) => {
    expect(ownerOf(await create(gateway, names))).toBe(identity);
  });

  it('has the identity of its token', async () => {
    const headers = { authorization: `Bearer ${await sign()}` };
    expect(ownerOf(await create(gateway, { alternative: [['DNS', 'build.example']] }, headers))).toBe('sub:ali');
  });

  it('cannot claim another by what proxies say of their clients', async () => {
    const claims = { 'x-forwarded-client-cert': 'URI=spiffe://mesh/ns/prod/sa/admin', 'guestfs-forwarded-bin': 'AAAA' };
    expect(ownerOf(await create(gateway, { alternative: [['DNS', 'build.example']] }, claims))).toBe(
      'dns:build.example',
    );
  });

  it('without a certificate does not connect', async () => {
    await expect(create(gateway, undefined)).rejects.toThrow();
  });

  it('with a token that is not valid makes no calls', async () => {
    const { status, text } = await create(
      gateway,
      { alternative: [['DNS', 'build.example']] },
      { authorization: 'Bearer x' },
    );
    expect(status).toBe(401);
    expect(JSON.parse(text)).toMatchObject({ code: 'unauthenticated' });
  });

  it('does not see the sessions of another', async () => {
    const { text } = await create(gateway, { alternative: [['DNS', 'one.example']] });
    const { id } = JSON.parse(text) as { id: string };
    expect(server.registry.list('dns:one.example').map((session) => session.id)).toEqual([id]);
    expect(server.registry.list('dns:two.example')).toEqual([]);
  });
});

describe('a gateway that is no proxy for the server', () => {
  it('passes on no calls: they would be made as the gateway', async () => {
    const before = server.registry.list('cn:somebody').length;
    const { status, text } = await create(untrusted, { alternative: [['DNS', 'build.example']] });
    expect(status).toBe(401);
    expect(text).toMatch(/would take the gateway for its client/);
    expect(server.registry.list('cn:somebody')).toHaveLength(before);
  });

  it('passes on none on a Unix socket either', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-gateway-'));
    const logger = createLogger('silent');
    const peerUsers = new PeerUsers(logger);
    const socket = join(directory, 'server.sock');
    const own = `uid:${process.geteuid?.() ?? 0}`;
    const local = await startSecureServer(authority, {
      ...{ socket, peerUsers, logger },
      identify: createIdentify({ kinds: [], peerUsers }),
    });
    const front = await startGateway(`unix:${socket}`, { upstream: { hasIdentity: true } });
    try {
      const { status } = await http(front.address, CREATE, {
        headers: { ...JSON_TYPE, authorization: 'Bearer anything' },
        body: '{}',
      });
      expect(status).toBe(401);
      expect(local.registry.list(own)).toEqual([]);
    } finally {
      await front.stop();
      await local.stop();
      rmSync(directory, { recursive: true });
    }
  });
});

it.each([
  [{ subjectaltname: 'DNS:a.example, URI:spiffe://x/y' }, 'uri:spiffe://x/y'],
  [{ subjectaltname: 'DNS:A.example' }, 'dns:a.example'],
  [{ subjectaltname: 'URI:spiffe://x/a;b=c' }, 'uri:spiffe://x/a;b=c'],
  [{}, 'sha256:AB:CD'.padEnd(7 + 95, ':00')],
])('what the gateway says about a certificate is what the server reads: %j', (names, expected) => {
  const certificate = { subject: {}, fingerprint256: 'AB:CD'.padEnd(95, ':00'), ...names };
  expect(forwardedIdentity(forwardedCertificate(certificate), CERTIFICATE_KINDS)).toBe(expected);
});

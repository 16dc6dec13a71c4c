/** Tokens and proxies on a real server: whom calls are taken to be from. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Metadata, status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWTPayload } from 'jose';
import {
  CreateSessionRequest,
  SessionServiceService,
  type CreateSessionResponse,
} from '../../../gen/proto/guestfs/v1/session.js';
import { TransferServiceService } from '../../../gen/proto/guestfs/v1/transfer.js';
import { createLogger } from '../../../src/common/logger.js';
import { CERTIFICATE_KINDS } from '../../../src/security/certificateIdentity.js';
import { forwardedIdentity } from '../../../src/security/forwardedCertificate.js';
import { TokenVerifier } from '../../../src/security/tokens.js';
import { createIdentify } from '../../../src/server/identify.js';
import { DEFAULT_LIMITS } from '../../../src/server/limits.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { asFailure, failureOf, type TestClient } from '../../support/testClient.js';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'guestfs';

let authority: Authority;
let server: SecureServer;
let tokens: TokenVerifier;
let keysFile: string;
let key: CryptoKey;
let other: CryptoKey;
const lines: string[] = [];

async function writeKeys(publicKey: CryptoKey, kid: string): Promise<void> {
  writeFileSync(keysFile, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256' }] }));
}
beforeAll(async () => {
  authority = startAuthority();
  keysFile = join(authority.directory, 'keys.json');
  const pair = await generateKeyPair('ES256');
  key = pair.privateKey;
  other = (await generateKeyPair('ES256')).privateKey;
  await writeKeys(pair.publicKey, 'one');
  tokens = await TokenVerifier.read({ keys: keysFile, issuer: ISSUER, audience: AUDIENCE });
  server = await startSecureServer(authority, {
    identify: createIdentify({ kinds: CERTIFICATE_KINDS, tokens, proxies: ['cn:proxy*'] }),
    logger: createLogger('debug', (line) => lines.push(line)),
  });
});
afterAll(async () => {
  await server.stop();
  authority.end();
});

interface Signed {
  readonly claims?: JWTPayload;
  readonly issuer?: string;
  readonly audience?: string;
  readonly expires?: string | number;
  readonly by?: CryptoKey;
}
function sign({
  claims = { sub: 'ali' },
  issuer = ISSUER,
  audience = AUDIENCE,
  expires = '5m',
  by = key,
}: Signed = {}) {
  const token = new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'one' });
  return token.setIssuer(issuer).setAudience(audience).setExpirationTime(expires).sign(by);
}
const now = (): number => Math.floor(Date.now() / 1000);

type Headers = Readonly<Record<string, string | readonly string[]>>;

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, values] of Object.entries(headers)) for (const value of [values].flat()) metadata.add(name, value);
  return metadata;
}

/** Makes a session with these metadata, and tells whose it is. */
async function ownerOf(client: TestClient, headers: Headers) {
  const metadata = metadataOf(headers);
  const { path, requestSerialize, responseDeserialize } = SessionServiceService.createSession;
  const request = CreateSessionRequest.decode(new Uint8Array());
  const { id } = await new Promise<CreateSessionResponse>((resolve, reject) => {
    client.channel.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, (error, answer) =>
      answer === undefined ? reject(asFailure(error)) : resolve(answer),
    );
  });
  const owners = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return owners.find(({ msg, session }) => msg === 'call succeeded' && session === id)?.['identity'];
}
const refusal = { code: 16, info: { reason: 'UNAUTHENTICATED' } };

describe('a bearer token', () => {
  it('says who its holder is, before the certificate', async () => {
    const client = server.client({ subject: '/CN=bob' });
    expect(await ownerOf(client, { authorization: `Bearer ${await sign()}` })).toBe('sub:ali');
    expect(await ownerOf(client, { authorization: `bearer ${await sign({ claims: { sub: 'cn:bob' } })}` })).toBe(
      'sub:cn:bob',
    );
    expect(await ownerOf(client, {})).toBe('cn:bob');
  });

  it.each<[string, () => Promise<string> | string, RegExp]>([
    ['that has expired', () => sign({ expires: now() - 60 }), /"exp"/],
    ['of another issuer', () => sign({ issuer: 'https://elsewhere' }), /"iss"/],
    ['for somebody else', () => sign({ audience: 'other' }), /"aud"/],
    ['that another key signed', () => sign({ by: other }), /signature/],
    ['without a subject', () => sign({ claims: {} }), /"sub"/],
    ['with a subject that is empty', () => sign({ claims: { sub: '' } }), /empty/],
    ['with a subject that is no text', () => sign({ claims: { sub: 7 } as never }), /./],
    ['with control characters in its subject', () => sign({ claims: { sub: 'a\nb' } }), /control/],
    [
      'that nobody signed',
      () => new UnsecuredJWT({ sub: 'ali' }).setIssuer(ISSUER).setAudience(AUDIENCE).setExpirationTime('5m').encode(),
      /"alg"|token/i,
    ],
    [
      'that is signed with a key that everybody has',
      () =>
        new SignJWT({ sub: 'ali' })
          .setProtectedHeader({ alg: 'HS256', kid: 'one' })
          .setIssuer(ISSUER)
          .setAudience(AUDIENCE)
          .setExpirationTime('5m')
          .sign(readFileSync(keysFile)),
      /"alg"/,
    ],
    [
      'without an end',
      () =>
        new SignJWT({ sub: 'ali', iss: ISSUER, aud: AUDIENCE })
          .setProtectedHeader({ alg: 'ES256', kid: 'one' })
          .sign(key),
      /"exp"/,
    ],
    ['that is none', () => 'nonsense', /Compact/i],
  ])('%s is refused, and not written anywhere', async (_what, make, message) => {
    const client = server.client({ subject: '/CN=bob' });
    const token = await make();
    const failure = await failureOf(ownerOf(client, { authorization: `Bearer ${token}` }));
    expect(failure).toMatchObject(refusal);
    expect(failure.details).toMatch(message);
    for (const text of [failure.details, ...lines]) expect(text).not.toContain(token);
  });

  it.each([[{ authorization: 'Basic eHg=' }], [{ authorization: 'Bearer' }]])('is not found in %j', async (headers) => {
    const client = server.client({ subject: '/CN=bob' });
    expect(await failureOf(ownerOf(client, headers))).toMatchObject(refusal);
  });

  it('is no longer good once it has expired, although it was', async () => {
    // Within what clocks may differ.
    const token = await sign({ expires: now() - 29 });
    expect(await tokens.verify(token)).toBe('sub:ali');
    await new Promise((resolve) => setTimeout(resolve, 2100));
    await expect(async () => tokens.verify(token)).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
  });

  it('is refused once its key is gone from the file, which cannot be replaced by nonsense', async () => {
    const token = await sign();
    expect(await tokens.verify(token)).toBe('sub:ali');
    const before = readFileSync(keysFile);
    for (const wrong of ['{', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}', 'null']) {
      writeFileSync(keysFile, wrong);
      await expect(tokens.reload()).rejects.toThrow();
      expect(await tokens.verify(token)).toBe('sub:ali');
    }
    await writeKeys((await generateKeyPair('ES256')).publicKey, 'two');
    await tokens.reload();
    await expect(tokens.verify(token)).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
    writeFileSync(keysFile, before);
    await tokens.reload();
    expect(await tokens.verify(token)).toBe('sub:ali');
  });

  it('is what each call needs where there are no certificates', async () => {
    const identifies = createIdentify({ kinds: CERTIFICATE_KINDS, tokens });
    const identify = async (call: Parameters<typeof identifies>[0]) => identifies(call);
    const call = (headers: Record<string, string>) => ({
      metadata: Metadata.fromHttp2Headers(headers),
      getAuthContext: () => ({}),
      connection: undefined,
    });
    await expect(identify(call({}))).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
    expect(await identify(call({ authorization: `Bearer ${await sign()}` }))).toBe('sub:ali');
  });
});

describe('x-forwarded-client-cert', () => {
  const FORWARDED = { 'x-forwarded-client-cert': 'By=spiffe://p;URI=spiffe://mesh/ali' };

  it('counts from the proxies that are named, and from nobody else', async () => {
    expect(await ownerOf(server.client({ subject: '/CN=proxy-1' }), FORWARDED)).toBe('uri:spiffe://mesh/ali');
    expect(await ownerOf(server.client({ subject: '/CN=bob' }), FORWARDED)).toBe('cn:bob');
    expect(await ownerOf(server.client({ alternative: [['DNS', 'proxy-1']] }), FORWARDED)).toBe('dns:proxy-1');
  });

  it('is what a named proxy has to send', async () => {
    const proxy = server.client({ subject: '/CN=proxy-1' });
    expect(await failureOf(ownerOf(proxy, {}))).toMatchObject(refusal);
    for (const header of [['URI=a', 'URI=b'], 'x'])
      expect(await failureOf(ownerOf(proxy, { 'x-forwarded-client-cert': header }))).toMatchObject(refusal);
  });

  const HASH = 'ab'.repeat(32);
  it.each([
    ['By=x;URI=spiffe://mesh/a', 'uri:spiffe://mesh/a'],
    ['URI=spiffe://mesh/evil,By=x;URI=spiffe://mesh/a', 'uri:spiffe://mesh/a'],
    [`By=x;Hash=${HASH};Subject="CN=a;URI=spiffe://mesh/evil,URI=x";URI=spiffe://mesh/a`, 'uri:spiffe://mesh/a'],
    [String.raw`Subject="CN=\"x\",URI=evil;URI=evil";DNS=A.example;DNS=b.example`, 'dns:a.example'],
    [`Hash=${HASH};URI=;Subject="CN=a"`, `sha256:${Array(32).fill('AB').join(':')}`],
    ['uri=spiffe://mesh/a', 'uri:spiffe://mesh/a'],
  ])('%s is %s', (header, expected) => {
    expect(forwardedIdentity(header, CERTIFICATE_KINDS)).toBe(expected);
  });

  it.each([
    '',
    'URI',
    'URI=a;',
    'URI=a,',
    ',URI=a',
    'URI="a',
    'URI="a"b',
    'URI=a;URI=b',
    'Subject="CN=a"',
    'Hash=zz',
    '=a',
  ])('is refused as %j', (header) => {
    expect(() => forwardedIdentity(header, CERTIFICATE_KINDS)).toThrow(
      expect.objectContaining({ reason: 'UNAUTHENTICATED' }),
    );
  });
});

describe('limits of calls', () => {
  const MOST = 3;
  let limited: SecureServer;
  beforeAll(async () => {
    limited = await startSecureServer(authority, {
      identify: createIdentify({ kinds: CERTIFICATE_KINDS, tokens, proxies: ['cn:proxy*'] }),
      limits: { ...DEFAULT_LIMITS, callsPerClient: MOST },
    });
  });
  afterAll(async () => {
    await limited.stop();
  });

  /** Uploads that never end: how many of them are refused at once. */
  async function refusedOf(client: TestClient, headers: Headers): Promise<number> {
    let refused = 0;
    const { path, requestSerialize, responseDeserialize } = TransferServiceService.upload;
    for (let index = 0; index < MOST + 2; index += 1) {
      const metadata = metadataOf({ ...headers, 'guestfs-session': 'none' });
      client.channel
        .makeClientStreamRequest(path, requestSerialize, responseDeserialize, metadata, (error) => {
          if (error?.code === status.RESOURCE_EXHAUSTED) refused += 1;
        })
        .on('error', () => undefined);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    return refused;
  }

  it('are those of each client of a proxy, not of all together', async () => {
    const proxy = limited.client({ subject: '/CN=proxy-1' });
    for (const name of ['ali', 'bea'])
      expect(await refusedOf(proxy, { 'x-forwarded-client-cert': `URI=spiffe://mesh/${name}` })).toBe(2);
  });

  it('are those of each holder of a token, not of a connection', async () => {
    const client = limited.client({ subject: '/CN=gateway' });
    for (const sub of ['carl', 'dora']) {
      const headers = { authorization: `Bearer ${await sign({ claims: { sub } })}` };
      // From then on the token is known.
      await ownerOf(client, headers);
      expect(await refusedOf(client, headers)).toBe(2);
    }
  });
});

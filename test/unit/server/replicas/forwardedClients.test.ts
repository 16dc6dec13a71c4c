/** Whom a server takes for the client of a call that another replica has passed on. */
import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import { createIdentify, type Caller, type IdentitySettings } from '../../../../src/server/identify.js';
import { FORWARDED_HEADER, type Forwarded } from '../../../../src/server/replicas/forwarded.js';
import { unauthenticated } from '../../../../src/security/certificateIdentity.js';

const TO = { replica: 'r1', run: 'abcdefgh' };

/** A token is the name of its subject; `slow:` ones take time to check. */
const tokens: NonNullable<IdentitySettings['tokens']> = {
  verify: (token) => {
    if (token === 'expired') throw unauthenticated('the bearer token has expired');
    return token.startsWith('slow.') ? Promise.resolve(`sub:${token.slice(5)}`) : `sub:${token}`;
  },
};

function identifies(
  forwarded: Forwarded | undefined,
  from: { readonly certificate?: string; readonly token?: string; readonly xfcc?: string },
  settings: Partial<IdentitySettings> & { readonly patterns?: readonly string[] } = {},
): Promise<string | undefined> {
  const { patterns = ['cn:replica'], ...more } = settings;
  const identify = createIdentify({
    kinds: ['uri', 'cn'],
    ...more,
    replicas: { identities: patterns, forwardedBy: () => forwarded },
  });
  const metadata = new Metadata();
  if (from.token !== undefined) metadata.set('authorization', `Bearer ${from.token}`);
  if (from.xfcc !== undefined) metadata.set('x-forwarded-client-cert', from.xfcc);
  const { certificate } = from;
  const names = { subject: { CN: certificate }, subjectaltname: '', fingerprint256: '' };
  const caller = {
    ...{ metadata, connection: undefined },
    getAuthContext: () => (certificate === undefined ? {} : { sslPeerCertificate: names }),
  } as unknown as Caller;
  return (async () => identify(caller))();
}

const alice: Forwarded = { from: 'r2', to: TO, identity: 'cn:alice', client: 'cn:alice' };
const refusal = (text: string) => ({ reason: 'UNAUTHENTICATED', message: expect.stringContaining(text) });

describe('a call with a certificate', () => {
  it.each<[string, Forwarded | undefined, Parameters<typeof identifies>[1], string]>([
    ['from its client', undefined, { certificate: 'alice' }, 'cn:alice'],
    ['from a replica, for a client', alice, { certificate: 'replica' }, 'cn:alice'],
    ['from a replica, for itself', { from: 'r2', nonce: 'n' }, { certificate: 'replica' }, 'replica:r2'],
  ])('%s', async (_how, forwarded, from, identity) => {
    expect(await identifies(forwarded, from)).toBe(identity);
  });

  it.each<[string, Forwarded, Parameters<typeof identifies>[1], string]>([
    ['from a client that poses as a replica', alice, { certificate: 'mallory' }, '--peer-identities'],
    ['from nobody', alice, {}, '--peer-identities'],
    ['for nobody', { from: 'r2', to: TO, client: '127.0.0.1' }, { certificate: 'replica' }, 'must identify its client'],
    ['from a client that poses as a replica for itself', { from: 'r2', nonce: 'n' }, { certificate: 'm' }, '--peer-'],
  ])('is refused: %s', async (_how, forwarded, from, text) => {
    await expect(identifies(forwarded, from)).rejects.toMatchObject(refusal(text));
  });
});

describe('a call with a bearer token', () => {
  const bearer: Forwarded = { from: 'r2', to: TO, identity: 'sub:alice', client: 'sub:alice' };
  const replica = { certificate: 'replica' };

  it.each(['alice', 'slow.alice'])('has the identity that replica and token agree on: %s', async (token) => {
    expect(await identifies(bearer, { ...replica, token }, { tokens })).toBe('sub:alice');
    expect(await identifies(bearer, { token }, { tokens, patterns: [] })).toBe('sub:alice');
  });

  it.each(['bob', 'slow.bob'])('is refused if they do not agree: %s', async (token) => {
    const lies = refusal('identify different clients');
    await expect(identifies(bearer, { ...replica, token }, { tokens })).rejects.toMatchObject(lies);
    await expect(identifies(bearer, { token }, { tokens, patterns: [] })).rejects.toMatchObject(lies);
  });

  it('is refused if the token has expired on the way, by the clock of the second server', async () => {
    const expired = refusal('expired');
    await expect(identifies(bearer, { ...replica, token: 'expired' }, { tokens })).rejects.toMatchObject(expired);
  });

  it('needs the token where replicas have no identities', async () => {
    const unproved = refusal('only calls with a bearer token');
    await expect(identifies(bearer, {}, { tokens, patterns: [] })).rejects.toMatchObject(unproved);
    expect(await identifies(bearer, replica, { tokens })).toBe('sub:alice');
  });
});

describe('a call through a proxy', () => {
  const proxies = ['cn:proxy'];

  it('is a replica’s if the proxy says so, in its last element', async () => {
    const from = { certificate: 'proxy', xfcc: 'URI=spiffe://alice,URI=spiffe://replica' };
    expect(await identifies(alice, from, { proxies, patterns: ['uri:spiffe://replica'] })).toBe('cn:alice');
  });

  it('is not a replica’s because the client says so', async () => {
    const from = { certificate: 'proxy', xfcc: 'URI=spiffe://replica,URI=spiffe://mallory' };
    await expect(identifies(alice, from, { proxies, patterns: ['uri:spiffe://replica'] })).rejects.toMatchObject(
      refusal('--peer-identities'),
    );
  });
});

it('the header has a binary value', () => expect(FORWARDED_HEADER).toMatch(/-bin$/));

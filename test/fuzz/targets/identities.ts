/** Identification of clients: names in certificates, also as forwarded by a proxy, bearer tokens, and their headers. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  CERTIFICATE_KINDS,
  certificateIdentity,
  type CertificateKind,
  type CertificateNames,
} from '../../../src/security/certificateIdentity.js';
import { forwardedIdentity } from '../../../src/security/forwardedCertificate.js';
import { TokenVerifier } from '../../../src/security/tokens.js';
import { matchesWildcard } from '../../../src/security/wildcard.js';
import { createIdentify } from '../../../src/server/identify.js';
import { sessionIdOf, SESSION_HEADER } from '../../../src/server/sessionHeader.js';
import { ensure, unlessRefused, unlessRejected, type Target } from '../engine/target.js';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'guestfs';
const SUBJECT = 'alice';
const PROXY = 'dns:proxy.example';
const FINGERPRINT = Array.from({ length: 32 }, () => 'AB').join(':');
const YEAR_S = 31_536_000;

/** Kinds of names in both orders, and each kind alone. */
const ORDERS: readonly (readonly CertificateKind[])[] = [
  CERTIFICATE_KINDS,
  [...CERTIFICATE_KINDS].reverse(),
  ...CERTIFICATE_KINDS.map((kind) => [kind]),
];

function checkIdentity(identity: string | undefined, kinds: readonly CertificateKind[]): void {
  if (identity === undefined) return;
  ensure(
    kinds.some((kind) => identity.startsWith(`${kind}:`)),
    'an identity has a kind that is not used',
  );
  ensure(!/[\u0000-\u001f\u007f-\u009f]/.test(identity), 'an identity has control characters');
  ensure(identity.length < 2100 && identity.isWellFormed(), 'an identity cannot be logged');
}

/** A name as Node.js writes it into its list: as a JSON string if it has unusual characters. */
function asNodeWrites(value: string): string {
  return /[^\x20-\x7e]|[,'"\\]/.test(value) ? JSON.stringify(value) : value;
}

/** Checks the names of one certificate; each line has the type and value of one. */
function checkNames(lines: readonly string[], kinds: readonly CertificateKind[]): void {
  const names = lines.map((line) => ({ type: line.startsWith('d') ? 'DNS' : 'URI', value: line.slice(1) }));
  const list = names.map(({ type, value }) => `${type}:${asNodeWrites(value)}`).join(', ');
  const certificate = { subject: {}, subjectaltname: list, fingerprint256: FINGERPRINT };
  const identity = unlessRefused([GuestfsError], () => certificateIdentity(certificate, kinds));
  checkIdentity(identity, kinds);
  if (identity?.startsWith('uri:') === true)
    ensure(
      names.some(({ type, value }) => type === 'URI' && identity === `uri:${value}`),
      'the identity is a URI that the certificate does not have',
    );
  if (identity?.startsWith('dns:') === true)
    ensure(
      names.some(({ type, value }) => type === 'DNS' && identity === `dns:${value.toLowerCase()}`),
      'the identity is a DNS name that the certificate does not have',
    );
}

/** Checks a list in any form, as a faulty Node.js could return it. */
function checkList(text: string, kinds: readonly CertificateKind[]): void {
  const [common = '', list = ''] = text.split('\0', 2);
  const certificate: CertificateNames = {
    subject: { CN: common.includes('|') ? common.split('|') : common },
    subjectaltname: list,
    fingerprint256: FINGERPRINT,
  };
  checkIdentity(
    unlessRefused([GuestfsError], () => certificateIdentity(certificate, kinds)),
    kinds,
  );
}

/** Checks that the last element counts, whatever a client wrote into those before it. */
function checkForwarded(text: string, kinds: readonly CertificateKind[]): void {
  const identity = unlessRefused([GuestfsError], () => forwardedIdentity(text, kinds));
  checkIdentity(identity, kinds);
  const appended = unlessRefused([GuestfsError], () => forwardedIdentity(`${text},URI=spiffe://last`, ['uri']));
  ensure(appended === undefined || appended === 'uri:spiffe://last', "a client can forge its proxy's element");
}

function checkWildcard(text: string): void {
  const [pattern = '', ...rest] = text.split('\0');
  const subject = rest.join('\0');
  matchesWildcard(pattern, subject);
  const short = pattern.split('*').slice(0, 4).join('*');
  // The length of regular expressions is limited.
  if (short.length > 256 || subject.length > 64 || !pattern.isWellFormed() || !subject.isWellFormed()) return;
  const expression = short.replaceAll(/[^A-Za-z0-9*]/gu, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
  const expected = new RegExp(`^${expression.replaceAll('*', '.*')}$`, 'su');
  ensure(
    matchesWildcard(short, subject) === expected.test(subject),
    'a pattern matches differently from its regular expression',
  );
}

interface Tokens {
  readonly verifier: TokenVerifier;
  readonly valid: string;
}

let tokens: Promise<Tokens> | undefined;

/** Creates the keys of this run, and a token signed with them. */
async function makeTokens(): Promise<Tokens> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const directory = mkdtempSync(join(tmpdir(), 'fuzz-keys-'));
  try {
    const keys = join(directory, 'keys.json');
    writeFileSync(keys, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), alg: 'EdDSA' }] }));
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: SUBJECT, exp: Math.floor(Date.now() / 1000) + YEAR_S };
    const signed = `${part({ alg: 'EdDSA' })}.${part(claims)}`;
    const valid = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`;
    return { verifier: await TokenVerifier.read({ keys, issuer: ISSUER, audience: AUDIENCE }), valid };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Metadata of a call, from lines of a key and a value; undefined if grpc-js refuses it. */
function metadataOf(lines: readonly string[]): Metadata | undefined {
  const metadata = new Metadata();
  try {
    for (const line of lines) {
      const [key = '', ...value] = line.split('\t');
      metadata.add(KEYS[key] ?? key, value.join('\t'));
    }
  } catch {
    return undefined;
  }
  return metadata;
}

const KEYS: Readonly<Record<string, string>> = {
  a: 'authorization',
  f: 'x-forwarded-client-cert',
  s: SESSION_HEADER,
};

async function checkCall(lines: readonly string[]): Promise<void> {
  const metadata = metadataOf(lines);
  if (metadata === undefined) return;
  const id = unlessRefused([GuestfsError], () => sessionIdOf(metadata));
  ensure(id === undefined || !id.includes(','), 'two session IDs count as one');
  tokens ??= makeTokens();
  const { verifier } = await tokens;
  const identify = createIdentify({ kinds: CERTIFICATE_KINDS, tokens: verifier, proxies: [PROXY] });
  const certificate = { subject: {}, subjectaltname: 'DNS:proxy.example', fingerprint256: FINGERPRINT };
  const call = { metadata, getAuthContext: () => ({ sslPeerCertificate: certificate }) };
  const found = await unlessRejected([GuestfsError], async () => identify(call as never));
  ensure(found !== PROXY, 'a client has the identity of its proxy');
  if (found?.startsWith('sub:') === true)
    ensure(found === `sub:${SUBJECT}`, 'a token without a valid signature is accepted');
}

const FORMS = 5;

export const identities: Target = {
  name: 'identities',
  about: 'names in certificates, forwarded certificates, bearer tokens and the metadata of calls',
  longest: 1024,
  // HTTP/2 headers are limited to less.
  stretched: 64 * 1024,
  async seeds() {
    tokens ??= makeTokens();
    const { valid } = await tokens;
    return [
      '\0\0uspiffe://mesh/ns/prod/sa/build\ndbuild.example',
      '\0\0dx, URI:spiffe://mesh/admin',
      '\x01\0build\0URI:spiffe://mesh/x, DNS:"a\\u002c b", IP Address:192.0.2.1',
      '\x01\0a|b\0',
      `\x02\0By=spiffe://proxy;Hash=${'ab'.repeat(32)};Subject="CN=a,O=\\"b\\"";URI=spiffe://mesh/x;DNS=a.example`,
      '\x02\0URI="a",URI=b',
      '\x03\0uri:*/ns/*\0uri:spiffe://mesh/ns/prod',
      `\x04\0a\tBearer ${valid}`,
      '\x04\0f\tURI=spiffe://mesh/x\ns\tabc',
      '\x04\0a\tBearer e30.e30.e30',
    ].map((text) => Buffer.from(text, 'latin1'));
  },
  run(input) {
    const kinds = ORDERS[(input[1] ?? 0) % ORDERS.length] as readonly CertificateKind[];
    const text = input.subarray(2).toString('utf8');
    switch ((input[0] ?? 0) % FORMS) {
      case 0:
        return checkNames(text.split('\n'), kinds);
      case 1:
        return checkList(text, kinds);
      case 2:
        return checkForwarded(text, kinds);
      case 3:
        return checkWildcard(text);
      default:
        return checkCall(text.split('\n'));
    }
  },
};

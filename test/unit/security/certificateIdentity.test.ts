/** The identities of the holders of real certificates. */
import { readFileSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  CERTIFICATE_KINDS,
  certificateIdentity,
  identity,
  type CertificateKind,
  type CertificateNames,
} from '../../../src/security/certificateIdentity.js';
import { startAuthority, type Authority } from '../../fakes/secureServer.js';
import { makeClientCertificate, type ClientNames } from '../../support/certificates.js';

const SPIFFE = 'spiffe://mesh/ns/prod/sa/build';

let authority: Authority;
beforeAll(() => {
  authority = startAuthority();
});
afterAll(() => authority.end());

/** The certificate, as seen by a TLS socket. */
function certificateOf(names: ClientNames): CertificateNames {
  const { certificate } = makeClientCertificate(authority.directory, authority.certificate, names);
  return new X509Certificate(readFileSync(certificate)).toLegacyObject();
}
const identityOf = (names: ClientNames, kinds: readonly CertificateKind[] = CERTIFICATE_KINDS): string =>
  certificateIdentity(certificateOf(names), kinds);
const refusal = (message: RegExp): object => ({
  reason: 'UNAUTHENTICATED',
  message: expect.stringMatching(message),
});

describe('the identity of a certificate', () => {
  it('has a kind, so that equal names of different kinds differ', () => {
    expect(identityOf({ subject: '/CN=build', alternative: [['URI', SPIFFE]] })).toBe(`uri:${SPIFFE}`);
    expect(identityOf({ subject: `/CN=${SPIFFE.replaceAll('/', '\\/')}` })).toBe(`cn:${SPIFFE}`);
    expect(identityOf({ subject: '/CN=build', alternative: [['DNS', 'Build.example']] })).toBe('dns:build.example');
    expect(identityOf({ subject: '/CN=dns:build.example' })).toBe('cn:dns:build.example');
  });

  it('is the certificate, if it has no names', () => {
    expect(identityOf({ alternative: [['IP', '192.0.2.1']] })).toMatch(/^sha256:([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });

  it('comes from the accepted kinds, in their order', () => {
    const names: ClientNames = {
      subject: '/CN=build',
      alternative: [
        ['DNS', 'build.example'],
        ['URI', SPIFFE],
      ],
    };
    expect(identityOf(names, ['cn', 'uri'])).toBe('cn:build');
    expect(identityOf(names, ['dns'])).toBe('dns:build.example');
    const nameless = (): string => identityOf({ subject: '/CN=build' }, ['uri', 'dns']);
    expect(nameless).toThrow(expect.objectContaining(refusal(/no name of a kind that is used here \(uri, dns\)/)));
  });

  it('is the first of several DNS names, and none of several URIs or common names', () => {
    expect(
      identityOf({
        alternative: [
          ['DNS', 'a.example'],
          ['DNS', 'b.example'],
        ],
      }),
    ).toBe('dns:a.example');
    const two: ClientNames = {
      alternative: [
        ['URI', SPIFFE],
        ['URI', 'spiffe://mesh/other'],
      ],
    };
    expect(() => identityOf(two)).toThrow(expect.objectContaining(refusal(/has 2 URI names/)));
    expect(() => identityOf({ subject: '/CN=a/CN=b' })).toThrow(expect.objectContaining(refusal(/has 2 common names/)));
  });

  it.each<[string, ClientNames]>([
    ['a DNS name', { alternative: [['DNS', `a.example, URI:${SPIFFE}`]] }],
    ['an email address', { alternative: [['email', `a@example.org, URI:${SPIFFE}`]] }],
    ['a quoted DNS name', { alternative: [['DNS', `a", URI:${SPIFFE}, DNS:"b`]] }],
    ['a URI', { alternative: [['URI', `x, URI:${SPIFFE}`]] }],
    ['a URI with a line break', { alternative: [['URI', `x\\nURI:${SPIFFE}`]] }],
    ['a common name', { subject: `/CN=x, URI:${SPIFFE.replaceAll('/', '\\/')}` }],
  ])('does not come from text inside %s', (_what, names) => {
    let found: string | undefined;
    try {
      found = identityOf(names);
    } catch (error) {
      expect(error).toMatchObject({ reason: 'UNAUTHENTICATED' });
    }
    expect(found).not.toBe(`uri:${SPIFFE}`);
    expect(found ?? '').not.toMatch(/^(uri|dns):.*[, ]/);
  });

  it('is refused if the names cannot be distinguished', () => {
    const names = (subjectaltname: string): CertificateNames => ({ subject: {}, subjectaltname, fingerprint256: 'AA' });
    for (const list of ['DNS:a.example,URI:x', 'URI:"x', 'URI:"x"y', 'nonsense', 'DNS:a.example, , URI:x'])
      expect(() => certificateIdentity(names(list), CERTIFICATE_KINDS)).toThrow(/cannot be read/);
    expect(certificateIdentity(names('IP Address:::1, othername:"a, URI:x", URI:y'), CERTIFICATE_KINDS)).toBe('uri:y');
  });

  it.each(['', 'a\nb', 'a\u0000b', 'a\u202eb', '\ud800', 'x'.repeat(2049)])('has no name %j', (name) => {
    expect(() => identity('cn', name)).toThrow(expect.objectContaining({ reason: 'UNAUTHENTICATED' }));
  });
});

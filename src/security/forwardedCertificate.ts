/**
 * The header `x-forwarded-client-cert`, in which Envoy passes on the client certificate that it has checked
 * (https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert):
 * elements separated by commas, each of them `Key=Value` separated by semicolons. A value may be quoted.
 */
import {
  identity,
  namesOfType,
  unauthenticated,
  type CertificateKind,
  type CertificateNames,
} from './certificateIdentity.js';

interface Pair {
  readonly key: string;
  readonly value: string;
}

/** One pair and the separator after it. The two forms of a value cannot match the same text: linear time. */
const PAIR = /([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(,|;|$)/y;

/** The pairs of the last element, which the nearest proxy wrote; undefined if the header is malformed. */
function lastElement(header: string): readonly Pair[] | undefined {
  let pairs: Pair[] = [];
  let end = 0;
  let separator = ',';
  PAIR.lastIndex = 0;
  while (end < header.length || separator !== '') {
    const match = PAIR.exec(header);
    if (match === null) return undefined;
    end = PAIR.lastIndex;
    const [, key = '', quoted, plain = '', next = ''] = match;
    if (separator === ',') pairs = [];
    pairs.push({ key: key.toLowerCase(), value: quoted?.replaceAll(/\\(.)/g, '$1') ?? plain });
    separator = next;
  }
  return pairs;
}

/** Turns `a1b2` into `A1:B2`, the form of fingerprints in identities. */
function fingerprint(hash: string): string {
  return hash.toUpperCase().match(/../g)?.join(':') ?? '';
}

/**
 * The identity of the client of a proxy. Common names are not used: the header has them only as part of the subject.
 * @throws GuestfsError UNAUTHENTICATED
 */
export function forwardedIdentity(header: string, kinds: readonly CertificateKind[]): string {
  const pairs = lastElement(header);
  if (pairs === undefined) throw unauthenticated('x-forwarded-client-cert is malformed');
  const named = (name: string): string[] =>
    pairs.filter(({ key, value }) => key === name && value !== '').map(({ value }) => value);
  const [uris, [dns], [hash]] = [named('uri'), named('dns'), named('hash')];
  for (const kind of kinds) {
    if (kind === 'uri' && uris.length > 1)
      throw unauthenticated(`x-forwarded-client-cert has ${uris.length} URIs: it must have one`);
    if (kind === 'uri' && uris[0] !== undefined) return identity(kind, uris[0]);
    if (kind === 'dns' && dns !== undefined) return identity(kind, dns.toLowerCase());
    if (kind === 'sha256' && hash !== undefined && /^[0-9a-f]{64}$/i.test(hash))
      return identity(kind, fingerprint(hash));
  }
  throw unauthenticated(`x-forwarded-client-cert has no name of a kind that is used here (${kinds.join(', ')})`);
}

function quoted(value: string): string {
  return `"${value.replaceAll(/["\\]/g, '\\$&')}"`;
}

/**
 * The header's value for a client certificate, as a proxy writes it: what {@link forwardedIdentity} reads.
 * @throws GuestfsError UNAUTHENTICATED if the names of the certificate cannot be read
 */
export function forwardedCertificate(certificate: CertificateNames): string {
  return [
    `Hash=${certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`,
    ...namesOfType(certificate, 'URI').map((name) => `URI=${quoted(name)}`),
    ...namesOfType(certificate, 'DNS').map((name) => `DNS=${quoted(name)}`),
  ].join(';');
}

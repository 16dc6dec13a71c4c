/**
 * The identity of a client certificate.
 *
 * An identity starts with its kind, as in `uri:spiffe://mesh/ns/prod/sa/build` or `cn:build`, so that equal names of
 * different kinds are different identities: certificate authorities validate the fields of a certificate by different
 * rules.
 */
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';

/** Kinds of identities that certificates have: a SAN of type URI or DNS, the common name, the certificate itself. */
export const CERTIFICATE_KINDS = ['uri', 'dns', 'cn', 'sha256'] as const;
export type CertificateKind = (typeof CERTIFICATE_KINDS)[number];

/** The kind of the identities of bearer tokens: `sub:` and the subject. */
export const TOKEN_KIND = 'sub';

/** The kind of the identities of clients on a Unix socket: `uid:` and the number of their user. */
const USER_KIND = 'uid';

/** The identity of a user of this machine. */
export function userIdentity(user: number): string {
  return `${USER_KIND}:${user}`;
}

/** Whether a pattern for identities starts with a kind. */
export function namesKind(pattern: string): boolean {
  return IDENTITY_KINDS.some((kind) => pattern.startsWith(`${kind}:`));
}

/** All kinds of identities. */
export const IDENTITY_KINDS: readonly string[] = [...CERTIFICATE_KINDS, TOKEN_KIND, USER_KIND];

/** The fields of a certificate that are used, in the form of Node's `tls.PeerCertificate`. */
export interface CertificateNames {
  readonly subject: { readonly CN?: string | readonly string[] };
  /** All subject alternative names, as formatted by Node. */
  readonly subjectaltname?: string | undefined;
  readonly fingerprint256: string;
}

/** A subject alternative name. */
interface AlternativeName {
  readonly type: string;
  readonly value: string;
  /** Whether its value contains characters that are not allowed in names. */
  readonly quoted: boolean;
}

/** Longer than any SPIFFE ID. */
const MAX_LENGTH = 2048;

/**
 * One name of Node's list, in which any value with a comma, a quote or other special characters is a JSON string.
 * The two alternatives for the value cannot match the same text, so matching takes linear time.
 */
const ALTERNATIVE_NAME = /([A-Za-z0-9 ]+):(?:("(?:[^"\\]|\\.)*")|([^",]*))(?:, |$)/y;

/** Splits Node's list of alternative names; undefined if it is not such a list. */
function alternativeNames(list: string): AlternativeName[] | undefined {
  const names: AlternativeName[] = [];
  ALTERNATIVE_NAME.lastIndex = 0;
  let end = 0;
  while (end < list.length) {
    const match = ALTERNATIVE_NAME.exec(list);
    if (match === null) return undefined;
    end = ALTERNATIVE_NAME.lastIndex;
    const [, type = '', quoted, plain = ''] = match;
    names.push({ type, value: quoted ?? plain, quoted: quoted !== undefined });
  }
  return names;
}

/** The error for a client that does not prove its identity. */
export function unauthenticated(why: string): GuestfsError {
  return new GuestfsError('UNAUTHENTICATED', why);
}

/**
 * Makes an identity from a kind and a name.
 * @throws GuestfsError UNAUTHENTICATED if the name is empty, too long, or has invisible characters
 */
export function identity(kind: string, name: string): string {
  if (name === '') throw unauthenticated(`the ${kind} name of the client is empty`);
  if (name.length > MAX_LENGTH)
    throw unauthenticated(`the ${kind} name of the client has over ${MAX_LENGTH} characters`);
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(name) || !name.isWellFormed())
    throw unauthenticated(`the ${kind} name of the client, '${printable(name)}', has control characters`);
  return `${kind}:${name}`;
}

function commonNames({ subject }: CertificateNames): readonly string[] {
  const { CN } = subject;
  if (CN === undefined) return [];
  return typeof CN === 'string' ? [CN] : CN;
}

/** The name of a kind that may occur only once: among several, there would be no way to choose. */
function only(what: string, names: readonly string[]): string | undefined {
  if (names.length > 1) throw unauthenticated(`the client certificate has ${names.length} ${what}: it must have one`);
  return names[0];
}

function unreadable(): GuestfsError {
  return unauthenticated('the subject alternative names of the client certificate cannot be read');
}

/**
 * The names of a type in a certificate, in their order.
 * @throws GuestfsError UNAUTHENTICATED if they cannot be read
 */
export function namesOfType(certificate: CertificateNames, type: 'URI' | 'DNS'): readonly string[] {
  const alternative = alternativeNames(certificate.subjectaltname ?? '');
  if (alternative === undefined) throw unreadable();
  const names = alternative.filter((name) => name.type === type);
  if (names.some(({ quoted }) => quoted))
    throw unauthenticated(`a ${type} name of the client certificate has characters that such names do not have`);
  return names.map(({ value }) => value);
}

/**
 * The identity of a certificate, of the first of `kinds` that it has.
 * @throws GuestfsError UNAUTHENTICATED if it has none of them, or one that is ambiguous
 */
export function certificateIdentity(certificate: CertificateNames, kinds: readonly CertificateKind[]): string {
  if (alternativeNames(certificate.subjectaltname ?? '') === undefined) throw unreadable();
  const find: Readonly<Record<CertificateKind, () => string | undefined>> = {
    uri: () => only('URI names', namesOfType(certificate, 'URI')),
    // All are names of one host; the first is the one that the certificate was issued for.
    dns: () => namesOfType(certificate, 'DNS')[0]?.toLowerCase(),
    cn: () => only('common names', commonNames(certificate)),
    sha256: () => certificate.fingerprint256,
  };
  for (const kind of kinds) {
    const name = find[kind]();
    if (name !== undefined) return identity(kind, name);
  }
  throw unauthenticated(
    `the client certificate has no name of a kind that is used here (${kinds.join(', ')}); the server's --identity-kinds names those kinds`,
  );
}

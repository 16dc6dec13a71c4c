/** Who a client is: whom its token names, else its certificate, or the certificate that a trusted proxy has seen. */
import type { Metadata } from '@grpc/grpc-js';
import { certificateIdentity, unauthenticated, type CertificateKind } from '../security/certificateIdentity.js';
import { forwardedIdentity } from '../security/forwardedCertificate.js';
import type { TokenVerifier } from '../security/tokens.js';
import { matchesWildcard } from '../security/wildcard.js';
import type { ServerCall } from './callScope.js';

/** An identity; undefined on a server without identities. */
export type Identified = string | undefined;

/**
 * Identity of the client of a call; undefined on a server without identities.
 * @throws GuestfsError UNAUTHENTICATED
 */
export type Identify = (call: Pick<ServerCall, 'getAuthContext' | 'metadata'>) => Identified | Promise<Identified>;

/** What identities are made of. */
export interface IdentitySettings {
  /** Kinds of names in certificates that count; the first that a certificate has is its identity. */
  readonly kinds: readonly CertificateKind[];
  /** Checks bearer tokens; without it there are none. */
  readonly tokens?: Pick<TokenVerifier, 'verify'> | undefined;
  /** Patterns of identities of proxies, which speak for their clients in `x-forwarded-client-cert`. */
  readonly proxies?: readonly string[];
}

const AUTHORIZATION = 'authorization';
const FORWARDED = 'x-forwarded-client-cert';
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** A header that must not be there twice: nobody could say which one counts. */
function only(metadata: Metadata, name: string): string | undefined {
  const values = metadata.get(name);
  if (values.length > 1) throw unauthenticated(`the metadata key "${name}" is there more than once`);
  return values[0]?.toString();
}

function bearerToken(metadata: Metadata): string | undefined {
  const header = only(metadata, AUTHORIZATION);
  if (header === undefined) return undefined;
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) throw unauthenticated(`the metadata key "${AUTHORIZATION}" has no bearer token`);
  return token;
}

export function createIdentify({ kinds, tokens, proxies = [] }: IdentitySettings): Identify {
  return (call) => {
    const certificate = call.getAuthContext().sslPeerCertificate;
    const peer = certificate && certificateIdentity(certificate, kinds);
    const token = tokens && bearerToken(call.metadata);
    if (tokens !== undefined && token !== undefined) return tokens.verify(token);
    if (peer === undefined) {
      if (tokens === undefined) return undefined;
      throw unauthenticated(`send a bearer token in the metadata key "${AUTHORIZATION}"`);
    }
    if (!proxies.some((pattern) => matchesWildcard(pattern, peer))) return peer;
    const forwarded = only(call.metadata, FORWARDED);
    // The proxy's own identity is none of its clients'.
    if (forwarded === undefined) throw unauthenticated(`a proxy has to say in ${FORWARDED} whom it speaks for`);
    return forwardedIdentity(forwarded, kinds);
  };
}

/** Identifies a client by its token, or else by its certificate or the certificate that a trusted proxy forwards. */
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

/** How clients are identified. */
export interface IdentitySettings {
  /** Kinds of names in certificates that are used; the first one that a certificate has is its identity. */
  readonly kinds: readonly CertificateKind[];
  /** Checks bearer tokens; without it, tokens are not used. */
  readonly tokens?: Pick<TokenVerifier, 'verify'> | undefined;
  /** Patterns for identities of proxies, which identify their clients by `x-forwarded-client-cert`. */
  readonly proxies?: readonly string[];
}

const AUTHORIZATION = 'authorization';
const FORWARDED = 'x-forwarded-client-cert';
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** A header that must not occur twice: there would be no way to choose one. */
function only(metadata: Metadata, name: string): string | undefined {
  const values = metadata.get(name);
  if (values.length > 1) throw unauthenticated(`the metadata key "${name}" occurs more than once`);
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
    // The proxy's own identity must not be used for its clients.
    if (forwarded === undefined) throw unauthenticated(`a proxy must identify its client in ${FORWARDED}`);
    return forwardedIdentity(forwarded, kinds);
  };
}

/** Who a client is. */
import { certificateIdentity, type CertificateKind } from '../security/certificateIdentity.js';
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
}

/** Clients are who their certificates say; without one a client has no identity. */
export function createIdentify({ kinds }: IdentitySettings): Identify {
  return (call) => {
    const certificate = call.getAuthContext().sslPeerCertificate;
    return certificate && certificateIdentity(certificate, kinds);
  };
}

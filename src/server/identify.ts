/**
 * Identifies clients: by a token, otherwise by the client's certificate, on a Unix socket by its user, or by the
 * certificate that a trusted proxy reports. A replica that passes on a call identifies its client.
 */
import type { Http2Session } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';
import {
  certificateIdentity,
  unauthenticated,
  userIdentity,
  type CertificateKind,
} from '../security/certificateIdentity.js';
import { forwardedIdentity } from '../security/forwardedCertificate.js';
import type { TokenVerifier } from '../security/tokens.js';
import { matchesWildcard } from '../security/wildcard.js';
import type { ServerCall } from './callScope.js';
import type { PeerUsers } from './peerUsers.js';
import { FORWARDED_HEADER, isForItself, type Forwarded } from './replicas/forwarded.js';

/** An identity; undefined on a server without identities. */
export type Identified = string | undefined;

/**
 * Identity of the client of a call; undefined on a server without identities.
 * @throws GuestfsError UNAUTHENTICATED
 */
export type Identify = (caller: Caller) => Identified | Promise<Identified>;

/** What a client can be identified by. */
export interface Caller extends Pick<ServerCall, 'getAuthContext' | 'metadata'> {
  readonly connection: Http2Session | undefined;
}

/** How clients are identified. */
export interface IdentitySettings {
  /** Kinds of names in certificates that are used; the first one that a certificate has is its identity. */
  readonly kinds: readonly CertificateKind[];
  /** Checks bearer tokens; without it, tokens are not used. */
  readonly tokens?: Pick<TokenVerifier, 'verify'> | undefined;
  /** Knows the users of connections to a Unix socket; without it, they are not used. */
  readonly peerUsers?: Pick<PeerUsers, 'of'> | undefined;
  /** Patterns for identities of proxies, which identify their clients by `x-forwarded-client-cert`. */
  readonly proxies?: readonly string[];
  readonly replicas?: ReplicaIdentities | undefined;
}

/** How other replicas are recognized. */
export interface ReplicaIdentities {
  /** Patterns for their identities; empty: what they say about a client must be proved by its token. */
  readonly identities: readonly string[];
  /**
   * What a replica says about a call of this metadata; undefined if it says nothing.
   * @throws GuestfsError UNAUTHENTICATED
   */
  readonly forwardedBy: (metadata: Metadata) => Forwarded | undefined;
}

/** The kind of a replica's identity where it calls another on its own behalf. */
const REPLICA_KIND = 'replica';
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

export function createIdentify({ kinds, tokens, peerUsers, proxies = [], replicas }: IdentitySettings): Identify {
  /** Reading a certificate takes time, and a connection has only one. */
  const peers = new WeakMap<Http2Session, string>();
  const findPeer = ({ connection, getAuthContext }: Caller): Identified => {
    const { sslPeerCertificate: certificate } = getAuthContext();
    if (certificate !== undefined) return certificateIdentity(certificate, kinds);
    const user = peerUsers?.of(connection);
    return user === undefined ? undefined : userIdentity(user);
  };
  const peerOf = (call: Caller): Identified => {
    const { connection } = call;
    const peer = (connection && peers.get(connection)) ?? findPeer(call);
    if (connection !== undefined && peer !== undefined) peers.set(connection, peer);
    return peer;
  };
  /** The client of a connection: the peer or, if that is a proxy, whom it names. */
  const behind = (peer: string, { metadata }: Caller): string => {
    if (!proxies.some((pattern) => matchesWildcard(pattern, peer))) return peer;
    const forwarded = only(metadata, FORWARDED);
    // The proxy's own identity must not be used for its clients.
    if (forwarded === undefined) throw unauthenticated(`a proxy must identify its client in ${FORWARDED}`);
    return forwardedIdentity(forwarded, kinds);
  };
  const clientOf = (call: Caller): Identified | Promise<Identified> => {
    const peer = peerOf(call);
    const token = tokens && bearerToken(call.metadata);
    if (tokens !== undefined && token !== undefined) return tokens.verify(token);
    if (peer !== undefined) return behind(peer, call);
    if (tokens === undefined) throw unauthenticated('the connection does not identify the client');
    throw unauthenticated(`send a bearer token in the metadata key "${AUTHORIZATION}"`);
  };
  if (replicas === undefined) return clientOf;

  const isReplica = (call: Caller): boolean => {
    const peer = peerOf(call);
    if (peer === undefined) return false;
    const sender = behind(peer, call);
    return replicas.identities.some((pattern) => matchesWildcard(pattern, sender));
  };
  /** The client that a replica names. A token must prove the same, and everything if replicas have no identities. */
  const named = (stated: string, { metadata }: Caller): string | Promise<string> => {
    const token = tokens && bearerToken(metadata);
    if (tokens !== undefined && token !== undefined) {
      const compare = (proved: string): string => {
        if (proved === stated) return proved;
        throw unauthenticated('a replica and the bearer token identify different clients');
      };
      const proved = tokens.verify(token);
      return typeof proved === 'string' ? compare(proved) : proved.then(compare);
    }
    if (replicas.identities.length > 0) return stated;
    throw unauthenticated('without --peer-identities, a replica can pass on only calls with a bearer token');
  };
  return (call) => {
    const forwarded = replicas.forwardedBy(call.metadata);
    if (forwarded === undefined) return clientOf(call);
    if (replicas.identities.length > 0 && !isReplica(call))
      throw unauthenticated(`the metadata key "${FORWARDED_HEADER}" is for replicas, which --peer-identities names`);
    if (isForItself(forwarded)) return `${REPLICA_KIND}:${forwarded.from}`;
    if (forwarded.identity === undefined) throw unauthenticated('a replica must identify its client');
    return named(forwarded.identity, call);
  };
}

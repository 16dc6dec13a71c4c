/** Determines which calls share limits. */
import { Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import { http2StreamOf, metadataOf } from './grpcInternals.js';
import type { Identify } from './identify.js';
import { isForItself, type Forwarded } from './replicas/forwarded.js';

type Call = Parameters<ServerInterceptor>[1];

/**
 * What a replica says about a call that it has passed on.
 * @throws GuestfsError UNAUTHENTICATED
 */
export type ForwardedBy = (metadata: Metadata) => Forwarded | undefined;

/** Finds the client of a call. */
export type ClientOf = (call: Call) => string;

/**
 * Finds the client of a call, for the purpose of limits, when the call starts: its identity or, if that takes time to
 * verify, as with a token that the server has not seen before, the identity of its connection; otherwise the address
 * that it comes from.
 */
export function clientsBy(identify: Identify, forwardedBy: ForwardedBy = () => undefined): ClientOf {
  return (call) => {
    const metadata = metadataOf(call);
    let identity = identityAtOnce(identify, call, metadata);
    if (identity === UNKNOWN) identity = identityAtOnce(identify, call, new Metadata());
    const known = identity === UNKNOWN ? undefined : identity;
    return clientBehind(known, forwardedAtOnce(forwardedBy, metadata), call.getPeer());
  };
}

function forwardedAtOnce(forwardedBy: ForwardedBy, metadata: Metadata): Forwarded | undefined {
  try {
    return forwardedBy(metadata);
  } catch {
    // As below.
    return undefined;
  }
}

/** The call is refused later, or its identity takes time to find. */
const UNKNOWN = Symbol('unknown');

/** The identity of a call with some metadata; undefined on a server without identities. */
function identityAtOnce(identify: Identify, call: Call, metadata: Metadata): string | undefined | typeof UNKNOWN {
  try {
    const identity = identify({
      getAuthContext: () => call.getAuthContext(),
      metadata,
      connection: http2StreamOf(call).session,
    });
    if (!(identity instanceof Promise)) return identity;
    identity.catch(() => undefined);
  } catch {
    // The dispatcher refuses the call, and states the reason.
  }
  return UNKNOWN;
}

/** The name of a client by its identity or, if it has none, the address and port that it comes from. */
export function clientKey(identity: string | undefined, peer: string): string {
  return identity ?? addressOf(peer);
}

/** Finds the client of a call that another replica may have passed on: the client that the replica names. */
export function clientBehind(identity: string | undefined, forwarded: Forwarded | undefined, peer: string): string {
  if (forwarded === undefined || isForItself(forwarded)) return clientKey(identity, peer);
  return identity ?? forwarded.client;
}

/** An address without its port; a Unix socket has none. */
function addressOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  return colon < 0 ? peer : peer.slice(0, colon);
}

/** Determines which calls share limits. */
import { Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import { http2StreamOf, metadataOf } from './grpcInternals.js';
import type { Identify } from './identify.js';

type Call = Parameters<ServerInterceptor>[1];

/** Finds the client of a call. */
export type ClientOf = (call: Call) => string;

/**
 * Finds the client of a call, for the purpose of limits, when the call starts: its identity or, if that takes time to
 * verify, as with a token that the server has not seen before, the identity of its connection; otherwise the address
 * that it comes from.
 */
export function clientsBy(identify: Identify): ClientOf {
  return (call) => {
    let identity = identityAtOnce(identify, call, metadataOf(call));
    if (identity === UNKNOWN) identity = identityAtOnce(identify, call, new Metadata());
    return clientKey(identity === UNKNOWN ? undefined : identity, call.getPeer());
  };
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

/** An address without its port; a Unix socket has none. */
function addressOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  return colon < 0 ? peer : peer.slice(0, colon);
}

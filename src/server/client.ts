/** Who shares limits with whom. */
import { Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import { http2StreamOf } from './grpcInternals.js';
import type { Identify } from './identify.js';

type Call = Parameters<ServerInterceptor>[1];

/** Finds the client of a call. */
export type ClientOf = (call: Call) => string;

/**
 * Finds the client of a call, as far as limits are concerned, before the call is identified: the identity of its
 * connection, if that has one that counts, or else the address that it comes from.
 */
export function clientsBy(identify: Identify): ClientOf {
  /** Reading a certificate is not cheap, and a connection has only one. */
  const clients = new WeakMap<object, string>();
  return (call) => {
    const { session } = http2StreamOf(call);
    const known = session === undefined ? undefined : clients.get(session);
    if (known !== undefined) return known;
    const client = clientKey(identityAtOnce(identify, call), call.getPeer());
    if (session !== undefined) clients.set(session, client);
    return client;
  };
}

/** The identity of a call's connection; undefined if it has none, none that counts, or one that takes time to find. */
function identityAtOnce(identify: Identify, call: Call): string | undefined {
  try {
    const identity = identify({
      getAuthContext: () => call.getAuthContext(),
      metadata: new Metadata(),
      connection: http2StreamOf(call).session,
    });
    if (!(identity instanceof Promise)) return identity;
    identity.catch(() => undefined);
  } catch {
    // The dispatch refuses the call, and says why.
  }
  return undefined;
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

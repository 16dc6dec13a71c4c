/** Who shares limits with whom. */
import { Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import { http2StreamOf } from './grpcInternals.js';
import type { Identify } from './identify.js';

type Call = Parameters<ServerInterceptor>[1];

/** Finds the client of a call. */
export type ClientOf = (call: Call) => string;

/**
 * Finds the client that a call counts against, before the client is identified: the identity of the connection, if that
 * has a usable one, or else the address that it comes from.
 */
export function clientsBy(identify: Identify): ClientOf {
  /** Parsing a certificate is expensive, and a connection has only one. */
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

/** The identity of a call's connection; undefined if it has none that is usable, or finding it takes time. */
function identityAtOnce(identify: Identify, call: Call): string | undefined {
  try {
    const identity = identify({ getAuthContext: () => call.getAuthContext(), metadata: new Metadata() });
    if (!(identity instanceof Promise)) return identity;
    identity.catch(() => undefined);
  } catch {
    // The dispatch refuses the call, with the reason.
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

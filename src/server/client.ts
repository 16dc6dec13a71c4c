/** Who shares limits with whom. */
import type { ServerInterceptor } from '@grpc/grpc-js';
import { http2StreamOf } from './grpcInternals.js';
import { identityOf, type ServerCall } from './callScope.js';

type Call = Parameters<ServerInterceptor>[1];

/** Reading a certificate is not cheap, and a connection has only one. */
const clients = new WeakMap<object, string>();

/**
 * The client of a call, as far as limits are concerned: the identity of its connection or, where there is none, the
 * address that it comes from.
 */
export function clientOf(call: Call): string {
  const { session } = http2StreamOf(call);
  const known = session === undefined ? undefined : clients.get(session);
  if (known !== undefined) return known;
  const client = clientKey(identityOf(call as unknown as ServerCall), call.getPeer());
  if (session !== undefined) clients.set(session, client);
  return client;
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

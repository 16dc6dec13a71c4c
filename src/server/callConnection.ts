/** The connection that a call came on, found by the call's metadata: all that its handler and interceptors have in common. */
import type { Http2Session } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';

const connections = new WeakMap<Metadata, Http2Session>();

export function connectionUnder(metadata: Metadata, connection: Http2Session): void {
  connections.set(metadata, connection);
}

/** Undefined for a call whose connection was closed before it began. */
export function connectionOf(metadata: Metadata): Http2Session | undefined {
  return connections.get(metadata);
}

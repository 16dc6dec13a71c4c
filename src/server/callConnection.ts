/** The connection of a call, by the call's metadata: the only object that its handler and its interceptors share. */
import type { Http2Session } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';

/** A property, since an entry of a WeakMap for every call makes each garbage collection slower. */
const CONNECTION = Symbol('connection');

type Connected = Metadata & { [CONNECTION]?: Http2Session };

/** Records the connection of a call. */
export function connectionUnder(metadata: Metadata, connection: Http2Session): void {
  (metadata as Connected)[CONNECTION] = connection;
}

/** The connection of a call; undefined if it was closed before the call started. */
export function connectionOf(metadata: Metadata): Http2Session | undefined {
  return (metadata as Connected)[CONNECTION];
}

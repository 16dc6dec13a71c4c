/** Translates between the headers of HTTP and gRPC's metadata. Only what the server knows is passed on. */
import { Metadata } from '@grpc/grpc-js';
import { badArgument, messageOf } from '../common/errors.js';
import { DETAILS_TRAILER } from '../server/errorDetails.js';

/** Request headers for the server. Those between replicas, and all that a proxy says of its client, are not a client's. */
const FOR_SERVER = /^(?:authorization|traceparent|tracestate|guestfs-(?:(?!-bin$)[a-z0-9-])+)$/;
const BINARY = /-bin$/;
/** Headers of one connection or message, and what is said in another way. */
const NOT_FOR_CLIENT = new Set([DETAILS_TRAILER, 'content-type', 'date', 'guestfs-replica-bin']);

/**
 * The metadata of a call.
 * @param certificate what to say about the client's certificate; undefined: nothing
 * @throws GuestfsError BAD_ARGUMENT
 */
export function metadataFrom(headers: Headers, certificate: string | undefined): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of headers) {
    if (!FOR_SERVER.test(name) || BINARY.test(name)) continue;
    try {
      metadata.set(name, value);
    } catch (error) {
      throw badArgument(name, `the header cannot be passed on: ${messageOf(error)}`);
    }
  }
  if (certificate !== undefined) metadata.set('x-forwarded-client-cert', certificate);
  return metadata;
}

/** Adds metadata of the server to the headers or trailers of an answer. */
export function addTo(headers: Headers, metadata: Metadata): void {
  for (const name of Object.keys(metadata.getMap())) {
    if (NOT_FOR_CLIENT.has(name)) continue;
    for (const value of metadata.get(name))
      headers.append(name, typeof value === 'string' ? value : value.toString('base64'));
  }
}

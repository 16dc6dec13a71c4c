/** RPCs as the generated code describes them, told apart by what streams. */
import type { deserialize, serialize } from '@grpc/grpc-js';

interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: serialize<Request>;
  readonly responseDeserialize: deserialize<Response>;
}

/** One message there, one back. */
export interface UnaryMethod<Request, Response> extends Method<Request, Response> {
  readonly requestStream: false;
  readonly responseStream: false;
}

/** A stream of messages there, one back. */
export interface UploadMethod<Request, Response> extends Method<Request, Response> {
  readonly requestStream: true;
  readonly responseStream: false;
}

/** One message there, a stream back. */
export interface StreamMethod<Request, Response> extends Method<Request, Response> {
  readonly requestStream: false;
  readonly responseStream: true;
}

/** `FileService/Ls` of `/guestfs.v1.FileService/Ls`. */
export function rpcName({ path }: { readonly path: string }): string {
  return path.replace(/^\/guestfs\.v1\./, '');
}

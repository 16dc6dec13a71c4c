/** Descriptions of RPCs in the generated code (`FileServiceService.cat`), distinguished by what they stream. */
import type { deserialize, serialize } from '@grpc/grpc-js';

interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: serialize<Request>;
  readonly responseDeserialize: deserialize<Response>;
}

/** One message each way: most RPCs. */
export interface UnaryMethod<Request, Response> extends Method<Request, Response> {
  readonly requestStream: false;
  readonly responseStream: false;
}

/** A stream of requests, one answer. */
export interface ClientStreamMethod<Request, Response> extends Method<Request, Response> {
  readonly requestStream: true;
  readonly responseStream: false;
}

/** One request, a stream of answers. */
export interface ServerStreamMethod<Request, Response> extends Method<Request, Response> {
  readonly requestStream: false;
  readonly responseStream: true;
}

/** A message of a FileIn RPC: the arguments in the first one, and parts of the file in the others. */
export interface FileInMessage<Arguments> {
  payload: { $case: 'arguments'; value: Arguments } | { $case: 'chunk'; value: Buffer } | undefined;
}

/** A FileIn RPC: it takes arguments and a file. */
export type FileInMethod<Arguments, Response> = ClientStreamMethod<FileInMessage<Arguments>, Response>;

/** A FileOut RPC: it answers with a file. */
export type FileOutMethod<Request> = ServerStreamMethod<Request, { readonly chunk: Buffer }>;

/** `FileService/Ls` for `/guestfs.v1.FileService/Ls`. */
export function rpcName({ path }: { readonly path: string }): string {
  return path.replace(/^\/guestfs\.v1\./, '');
}

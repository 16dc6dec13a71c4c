/** A client for guestfs-grpc: sessions, typed calls, files, events, and errors with their reasons. */
export type { UploadOptions } from './actionParts.js';
export * from './actions.js';
export { Calls, type OpenUpload } from './calls.js';
export { connect, GuestfsClient, type ConnectOptions } from './client.js';
export type { Drive, DriveSource } from './drives.js';
export { GuestfsRpcError } from './error.js';
export { errorInfoOf, type ErrorInfo } from './errorInfo.js';
export { EventStream } from './events.js';
export { Guest } from './guest.js';
export {
  rpcName,
  type ClientStreamMethod,
  type FileInMessage,
  type FileInMethod,
  type FileOutMethod,
  type ServerStreamMethod,
  type UnaryMethod,
} from './methods.js';
export type { CallOptions } from './options.js';
export { Session, type SessionOptions } from './session.js';
export type { UploadSource } from './source.js';

/** A client for guestfs-grpc: sessions, typed calls, files, events, and errors with their reasons. */
export { EventType } from '../../../gen/proto/guestfs/v1/event.js';
export type { UploadOptions } from './actionParts.js';
export * from './actions.js';
export { Calls, type OpenUpload } from './calls.js';
export { connect, GuestfsClient } from './client.js';
export { Connections, type ConnectOptions, type Follow } from './connections.js';
export { Download } from './download.js';
export type { Drive, DriveOptions, DriveSource, RemoteImage } from './drives.js';
export { GuestfsRpcError, type ClientReason } from './error.js';
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
export type { CallProgress } from './progress.js';
export { Session } from './session.js';
export type { SessionOptions, Settings } from './sessionOptions.js';
export type { UploadSource } from './source.js';

/** Limits of connections, and of calls of any kind: see docs/limits.md. */

export interface ServerLimits {
  /** Connections at a time. */
  readonly connections: number;
  /** How long a connection may be without a call, milliseconds; undefined: no limit. */
  readonly connectionIdleMs: number | undefined;
  /** How long a client may take to send its HTTP/2 preface, milliseconds. */
  readonly handshakeMs: number;
  /** Calls at a time on one connection; further calls wait in the client. */
  readonly callsPerConnection: number;
  /** Calls at a time from one client, on all its connections. */
  readonly callsPerClient: number;
  /** How long a request may go without progress, milliseconds. */
  readonly stallMs: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  connections: 1024,
  connectionIdleMs: 300_000,
  handshakeMs: 10_000,
  callsPerConnection: 250,
  callsPerClient: 1000,
  stallMs: 30_000,
};

/** Limits of connections and calls, whatever the calls are: see docs/limits.md. */

export interface ServerLimits {
  /** Connections at a time. */
  readonly connections: number;
  /** How long a connection may be without a call, milliseconds; undefined: for ever. */
  readonly connectionIdleMs: number | undefined;
  /** How long a connection may take until its client has greeted the server, milliseconds. */
  readonly handshakeMs: number;
  /** Calls at a time on one connection: more wait in the client. */
  readonly callsPerConnection: number;
  /** Calls at a time of one client, on all its connections. */
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

/** Limits of connections, and of calls of any kind: see docs/limits.md. */

export interface ServerLimits {
  /** Connections at a time. */
  readonly connections: number;
  /** Those that other replicas may have on top of them, one each; any number when left out. */
  readonly connectionsOfReplicas?: number | undefined;
  /** How long a connection may be without a call, milliseconds; undefined: no limit. */
  readonly connectionIdleMs: number | undefined;
  /** After this time a client is asked to connect anew, milliseconds; undefined: never. */
  readonly connectionAgeMs: number | undefined;
  /** How long calls of a connection may then go on, milliseconds; undefined: as long as they take. */
  readonly connectionAgeGraceMs: number | undefined;
  /** How often a connection is asked whether its client is still there, milliseconds; undefined: never. */
  readonly keepaliveMs: number | undefined;
  /** ... and how long it may take to answer. */
  readonly keepaliveTimeoutMs: number;
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
  connectionAgeMs: undefined,
  connectionAgeGraceMs: undefined,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 20_000,
  handshakeMs: 10_000,
  callsPerConnection: 250,
  callsPerClient: 1000,
  stallMs: 30_000,
};

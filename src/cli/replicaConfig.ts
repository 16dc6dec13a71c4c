/** The configuration of a server that is one of several, from its flags. */
import { hostname } from 'node:os';
import { addressText, isLocal, socketPath, splitAddress } from '../server/address.js';
import type { PeerSource } from '../server/replicas/peerAddresses.js';
import { UsageError } from './commandLine.js';
import type { ReplicaFlags } from './replicaFlags.js';

/** How this server is one of several. */
export interface ReplicaConfig {
  readonly id: string;
  /** Undefined: session IDs do not name their replica. */
  readonly sessionKey: string | undefined;
  /** The address to advertise, from the one that is listened on. */
  readonly advertised: (listening: string) => string;
  readonly peers: PeerSource | undefined;
  readonly forward: boolean;
  /** Patterns for the identities of the other replicas. */
  readonly identities: readonly string[];
}

/** The flags that these depend on. */
interface Others {
  readonly listen: string;
  readonly insecureListen: boolean;
  readonly tlsCert?: string;
  readonly clientCa?: string;
  readonly jwtKeys?: string;
}

/** Every character that an ID cannot have becomes a dash. */
function defaultId(): string {
  const name = (hostname().split('.')[0] ?? '').replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(0, 63);
  return name === '' ? 'replica' : name;
}

/** The host name stands in for an address that means all of them. */
function defaultAddress(listening: string): string {
  const { host } = splitAddress(listening) ?? { host: '' };
  return ['0.0.0.0', '::'].includes(host) ? listening.replace(/^.*(?=:\d+$)/, hostname()) : listening;
}

/** Addresses that can be checked; those that a file or DNS has can be anything. */
function hasRemote(source: PeerSource): boolean {
  switch (source.kind) {
    case 'list':
      return !source.addresses.every(isLocal);
    case 'dns':
      return !isLocal(addressText(`${source.host}:0`, source.port));
    case 'file':
      return true;
  }
}

/**
 * The configuration.
 * @throws UsageError for flags that lack others
 */
export function replicaConfig(flags: ReplicaFlags & Others, hasIdentities: boolean): ReplicaConfig {
  const { sessionKey, peers: source, forward, peerIdentities: identities = [], advertise } = flags;
  const { listen, insecureListen, tlsCert, clientCa, jwtKeys } = flags;
  if (forward && source === undefined) throw new UsageError('--forward needs --peers');
  if (source !== undefined && sessionKey === undefined) throw new UsageError('--peers needs --session-key');
  if (identities.length > 0 && source === undefined) throw new UsageError('--peer-identities needs --peers');
  if (identities.length > 0 && clientCa === undefined && socketPath(listen) === undefined)
    throw new UsageError(
      '--peer-identities needs --client-ca or --listen unix:/PATH: a replica that does not prove who it is could be anyone',
    );
  if (source !== undefined) {
    if (tlsCert !== undefined && (clientCa === undefined || identities.length === 0))
      throw new UsageError(
        '--peers needs --client-ca and --peer-identities where the server has TLS: replicas prove to each other who they are',
      );
    if (hasIdentities && identities.length === 0 && jwtKeys === undefined)
      throw new UsageError(
        '--peers needs --peer-identities: whom replicas name as a client is believed only of replicas',
      );
    if (tlsCert === undefined && !insecureListen && hasRemote(source))
      throw new UsageError(
        '--peers: other machines can be there, and without TLS everyone reads along; give --tls-cert, --tls-key, --client-ca and --peer-identities, or --insecure-listen if something else protects the connections',
      );
  }
  return {
    id: flags.replicaId ?? defaultId(),
    sessionKey,
    advertised: (listening) => advertise ?? defaultAddress(listening),
    peers: source,
    forward,
    identities,
  };
}

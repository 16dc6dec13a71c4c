/** The flags of a server that is one of several: see docs/replicas.md. */
import { InvalidArgumentError } from 'commander';
import { peerSource, type PeerSource } from '../server/replicas/peerAddresses.js';
import { isReplicaId } from '../server/replicas/sessionIds.js';
import { address, flag, identityPatterns, path } from './flagValues.js';

/** Their values. */
export interface ReplicaFlags {
  readonly sessionKey?: string;
  readonly replicaId?: string;
  readonly advertise?: string;
  readonly peers?: PeerSource;
  readonly forward: boolean;
  readonly peerIdentities?: readonly string[];
}

function replicaId(value: string): string {
  if (isReplicaId(value)) return value;
  throw new InvalidArgumentError('It must have 1 to 63 of the characters A-Z a-z 0-9 _ -.');
}

function peers(value: string): PeerSource {
  const source = peerSource(value);
  if (source !== undefined) return source;
  throw new InvalidArgumentError(
    'It must be dns:NAME:PORT, the path of a file (with a slash), or addresses of the form HOST:PORT or unix:/PATH, separated by commas.',
  );
}

export const REPLICA_FLAGS = [
  flag(
    'session-key',
    'FILE',
    'keys that all replicas share, one per line; session IDs then name their replica. Reloaded on SIGHUP and when it changes',
  ).argParser(path),
  flag('replica-id', 'ID', 'ID of this replica, different from all others (default: the host name)').argParser(
    replicaId,
  ),
  flag(
    'advertise',
    'HOST:PORT',
    'address at which clients and other replicas reach this one directly (default: the one it listens on)',
  ).argParser(address),
  flag(
    'peers',
    'WHERE',
    'the other replicas: dns:NAME:PORT, a file with an address per line, or HOST:PORT,...',
  ).argParser(peers),
  flag(
    'forward',
    undefined,
    'pass on calls for sessions of other replicas, instead of answering where they are',
  ).default(false, 'off'),
  flag(
    'peer-identities',
    'PATTERNS',
    'identities of the other replicas, such as dns:*.guestfs.example, separated by commas; they may make calls for clients',
  ).argParser(identityPatterns),
];

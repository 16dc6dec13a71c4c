/** Assembles what makes a server one of several replicas. */
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { certificateIdentity, type CertificateKind } from '../security/certificateIdentity.js';
import { matchesWildcard } from '../security/wildcard.js';
import type { Certificates } from '../server/certificates.js';
import { Peers } from '../server/replicas/peers.js';
import { Replicas } from '../server/replicas/replicas.js';
import { newRun } from '../server/replicas/sessionIds.js';
import { SessionKeys } from '../server/replicas/sessionKeys.js';
import { UsageError } from './commandLine.js';
import { keepReloading } from './reloading.js';
import type { ReplicaConfig } from './replicaConfig.js';

/** Connects to other replicas as the server itself, and to nobody else. */
function peerCredentials(
  certificates: Certificates | undefined,
  identities: readonly string[],
  kinds: readonly CertificateKind[],
): () => ChannelCredentials {
  if (certificates === undefined) return () => credentials.createInsecure();
  return () =>
    certificates.peerCredentials((certificate) => {
      try {
        const identity = certificateIdentity(certificate, kinds);
        if (identities.some((pattern) => matchesWildcard(pattern, identity))) return undefined;
        return new Error(`${identity} is not a replica: --peer-identities does not name it`);
      } catch (error) {
        return error as Error;
      }
    });
}

/** Undefined for a server that is the only one. */
export async function createReplicas(
  { id, sessionKey, peers: source, forward, identities }: ReplicaConfig,
  certificates: Certificates | undefined,
  kinds: readonly CertificateKind[],
  logger: Logger,
): Promise<Replicas | undefined> {
  if (sessionKey === undefined) return undefined;
  const keys = await SessionKeys.read(sessionKey).catch((error: unknown) => {
    throw new UsageError(`--session-key: ${sessionKey}: ${messageOf(error)}`);
  });
  await keepReloading({ what: 'session keys', watched: [sessionKey], reload: () => keys.reload() }, logger);
  const self = newRun(id);
  const peers =
    source === undefined
      ? undefined
      : new Peers({ source, keys, self, logger, credentials: peerCredentials(certificates, identities, kinds) });
  return new Replicas({ keys, self, peers, forward });
}

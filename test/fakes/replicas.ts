/** Several servers in this process, as replicas of one service: they share a session key, and know each other. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, ServerCredentials, type ChannelCredentials } from '@grpc/grpc-js';
import { silentLogger, type Logger } from '../../src/common/logger.js';
import { sameForAll } from '../../src/security/access.js';
import { createIdentify, type Identify, type IdentitySettings } from '../../src/server/identify.js';
import { DEFAULT_LIMITS } from '../../src/server/limits.js';
import { serve, type GrpcServer, type GrpcServerOptions } from '../../src/server/server.js';
import { SessionFactory } from '../../src/server/sessionFactory.js';
import { Peers } from '../../src/server/replicas/peers.js';
import { Replicas } from '../../src/server/replicas/replicas.js';
import { SessionKeys } from '../../src/server/replicas/sessionKeys.js';
import { newRun } from '../../src/server/replicas/sessionIds.js';
import { SessionRegistry } from '../../src/session/sessionRegistry.js';
import { TestClient } from '../support/testClient.js';
import { FakeLauncher } from './fakeLauncher.js';
import { defaultSettings } from './sessions.js';

/** A key, as it is in a file. */
export const KEY = '0123456789abcdef0123456789abcdef';

export interface ReplicaOptions {
  readonly id: string;
  readonly forward?: boolean;
  /** Whether it knows the others. */
  readonly alone?: boolean;
  readonly maxSessions?: number;
  readonly logger?: Logger;
  readonly identities?: Omit<IdentitySettings, 'replicas'> & { readonly replicas: readonly string[] };
  readonly serverCredentials?: ServerCredentials;
  readonly peerCredentials?: () => ChannelCredentials;
  /** Instead of a free port. */
  readonly listen?: string;
  readonly more?: Partial<GrpcServerOptions>;
}

export interface Replica {
  readonly id: string;
  readonly address: string;
  readonly replicas: Replicas;
  readonly peers: Peers | undefined;
  readonly registry: SessionRegistry;
  readonly launcher: FakeLauncher;
  readonly client: TestClient;
  readonly server: GrpcServer;
  /** Ends it at once or, if `inOrder` is set, as an orderly shutdown does. */
  stop(inOrder?: boolean): Promise<void>;
}

/** The replicas of a test. */
export class ReplicaSet {
  readonly directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-replicas-'));
  readonly keyFile = join(this.directory, 'keys');
  /** Where they find each other. */
  readonly peersFile = join(this.directory, 'peers');
  readonly #addresses = new Set<string>();
  readonly #running = new Set<Replica>();

  constructor() {
    writeFileSync(this.keyFile, `${KEY}\n`);
    this.#write();
  }

  /** Adds or removes an address, where nothing else does. */
  list(address: string, isListed = true): void {
    if (isListed) this.#addresses.add(address);
    else this.#addresses.delete(address);
    this.#write();
  }

  /** What a server needs to be a replica. */
  async member({
    id,
    forward = true,
    alone = false,
    logger = silentLogger,
    peerCredentials,
  }: ReplicaOptions): Promise<Replicas> {
    const keys = await SessionKeys.read(this.keyFile);
    const self = newRun(id);
    const peers = alone
      ? undefined
      : new Peers({
          ...{ source: { kind: 'file', path: this.peersFile }, keys, self, logger },
          credentials: peerCredentials ?? (() => credentials.createInsecure()),
        });
    return new Replicas({ keys, self, peers, forward });
  }

  async start(options: ReplicaOptions): Promise<Replica> {
    const { id, maxSessions = 100, logger = silentLogger, identities, listen = '127.0.0.1:0', more } = options;
    const replicas = await this.member(options);
    const launcher = new FakeLauncher();
    const registry = new SessionRegistry(maxSessions, logger);
    const identify: Identify =
      identities === undefined
        ? () => undefined
        : createIdentify({
            ...identities,
            replicas: { identities: identities.replicas, forwardedBy: replicas.forwardedBy },
          });
    const server = await serve({
      listen,
      socketMode: 0o600,
      credentials: options.serverCredentials ?? ServerCredentials.createInsecure(),
      identify,
      registry,
      factory: new SessionFactory({
        ...{ defaults: { ...defaultSettings }, defaultIdleTimeoutMs: undefined, launcher, logger },
      }),
      replicas,
      access: sameForAll({ imageRoots: { directories: [] }, allowed: new Set() }),
      probe: () => Promise.reject(new Error('there are no images here')),
      debugService: false,
      requestMemory: 64 << 20,
      limits: DEFAULT_LIMITS,
      logger,
      ...more,
    });
    const client = new TestClient(server.address, credentials.createInsecure());
    this.list(server.address);
    const replica: Replica = {
      ...{ id, address: server.address, replicas, peers: replicas.peers, registry, launcher, client, server },
      stop: async (inOrder = false) => {
        if (!this.#running.delete(replica)) return;
        client.close();
        const now = new AbortController();
        if (!inOrder) now.abort(new Error('the test is over'));
        await server.stop(now.signal).catch(() => undefined);
      },
    };
    this.#running.add(replica);
    return replica;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running].map((replica) => replica.stop()));
    rmSync(this.directory, { recursive: true });
  }

  #write(): void {
    writeFileSync(this.peersFile, [...this.#addresses, ''].join('\n'));
  }
}

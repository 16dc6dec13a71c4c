/** A real server in this process, with TLS, client certificates and a fake launcher, and clients with certificates. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, ServerCredentials } from '@grpc/grpc-js';
import { silentLogger, type Logger } from '../../src/common/logger.js';
import { sameForAll } from '../../src/security/access.js';
import { CERTIFICATE_KINDS } from '../../src/security/certificateIdentity.js';
import { createIdentify, type Identify } from '../../src/server/identify.js';
import { DEFAULT_LIMITS } from '../../src/server/limits.js';
import { serve, type GrpcServerOptions } from '../../src/server/server.js';
import { SessionFactory } from '../../src/server/sessionFactory.js';
import type { ClientBudget } from '../../src/session/clientBudget.js';
import { SessionRegistry } from '../../src/session/sessionRegistry.js';
import { makeAuthority, makeClientCertificate, type Certificate, type ClientNames } from '../support/certificates.js';
import { TestClient } from '../support/testClient.js';
import { FakeLauncher } from './fakeLauncher.js';
import { defaultSettings } from './sessions.js';

export interface SecureServerOptions
  extends Partial<
    Pick<GrpcServerOptions, 'access' | 'audit' | 'channelz' | 'diskBytes' | 'debugService' | 'limits' | 'peerUsers'>
  > {
  /** Where to listen without TLS; undefined: on a port, with TLS. */
  readonly socket?: string;
  readonly identify?: Identify;
  readonly logger?: Logger;
  readonly budget?: ClientBudget;
}

export interface SecureServer {
  /** The address it listens on, host:port. */
  readonly address: string;
  readonly registry: SessionRegistry;
  readonly launcher: FakeLauncher;
  /** A client with a certificate for this holder. */
  client(names: ClientNames): TestClient;
  /** A client without one, at the server's socket or another address. */
  plainClient(address?: string): TestClient;
  stop(): Promise<void>;
}

/** A certificate authority for a test file, and the certificates that it issued. */
export interface Authority {
  readonly directory: string;
  readonly certificate: Certificate;
  end(): void;
}

export function startAuthority(): Authority {
  const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-authority-'));
  return {
    directory,
    certificate: makeAuthority(directory),
    end: () => rmSync(directory, { recursive: true }),
  };
}

export async function startSecureServer(
  { directory, certificate: authority }: Authority,
  {
    identify = createIdentify({ kinds: CERTIFICATE_KINDS }),
    access = sameForAll({ imageRoots: { directories: [] }, allowed: new Set() }),
    logger = silentLogger,
    audit,
    channelz,
    budget,
    diskBytes,
    debugService = false,
    limits = DEFAULT_LIMITS,
    peerUsers,
    socket,
  }: SecureServerOptions = {},
): Promise<SecureServer> {
  const launcher = new FakeLauncher();
  const registry = new SessionRegistry(100, logger, budget);
  const factory = new SessionFactory({
    defaults: { ...defaultSettings },
    defaultIdleTimeoutMs: undefined,
    launcher,
    logger,
  });
  const ca = readFileSync(authority.certificate);
  const server = await serve({
    listen: socket === undefined ? '127.0.0.1:0' : `unix:${socket}`,
    socketMode: 0o666,
    peerUsers,
    credentials:
      socket !== undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(ca, [{ cert_chain: ca, private_key: readFileSync(authority.key) }], true),
    channelz,
    identify,
    registry,
    factory,
    access,
    probe: () => Promise.reject(new Error('no image here needs it')),
    debugService,
    requestMemory: 64 << 20,
    limits,
    diskBytes,
    logger,
    audit,
  });
  const clients: TestClient[] = [];
  return {
    address: server.address,
    registry,
    launcher,
    client: (names) => {
      const { key, certificate } = makeClientCertificate(directory, authority, names);
      const client = new TestClient(
        server.address,
        credentials.createSsl(ca, readFileSync(key), readFileSync(certificate)),
      );
      clients.push(client);
      return client;
    },
    plainClient: (address = server.address) => {
      const client = new TestClient(address, credentials.createInsecure());
      clients.push(client);
      return client;
    },
    stop: async () => {
      for (const client of clients) client.close();
      await server.stop();
    },
  };
}

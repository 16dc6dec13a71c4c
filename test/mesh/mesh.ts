/** Replicas with TLS behind a proxy: all of them real, in processes of their own. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { makeAuthority, makeCertificate, makeClientCertificate, type Certificate } from '../support/certificates.js';
import { TestClient } from '../support/testClient.js';
import { startTestServer, type TestServer } from '../support/testServer.js';
import { startProxy, type Place, type Proxy, type ProxyKind } from './proxy.js';

/** Those that run from the start, and the one that is added later. */
export const REPLICAS = 4;
/** How long a replica serves on when it is asked to end, seconds. */
export const DRAIN_DELAY = 6;

export interface MeshReplica extends Place {
  readonly id: string;
  readonly address: string;
  /** Undefined: not started yet. */
  server: TestServer | undefined;
}

/** A port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export class Mesh {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), 'mesh-')));
  readonly replicas: MeshReplica[] = [];
  readonly #kind: ProxyKind;
  readonly #authority: Certificate;
  readonly #server: Certificate;
  readonly #clients: TestClient[] = [];
  readonly #certificates = new Map<string, Certificate>();
  #proxy: Proxy | undefined;

  constructor(kind: ProxyKind) {
    this.#kind = kind;
    this.#authority = makeAuthority(this.directory);
    this.#server = makeCertificate(this.directory, this.#authority, 'DNS:guestfs-grpc');
    writeFileSync(join(this.directory, 'session.key'), `${randomBytes(32).toString('hex')}\n`);
  }

  get proxy(): Proxy {
    if (this.#proxy === undefined) throw new Error('the proxy was not started');
    return this.#proxy;
  }

  /** Starts all replicas but the last, and the proxy. */
  async start(): Promise<void> {
    for (let index = 0; index < REPLICAS; index += 1) {
      const [port, metricsPort] = [await freePort(), await freePort()];
      this.replicas.push({ id: `r${index}`, address: `127.0.0.1:${port}`, port, metricsPort, server: undefined });
    }
    writeFileSync(join(this.directory, 'peers'), this.replicas.map(({ address }) => `${address}\n`).join(''));
    await Promise.all(this.replicas.slice(0, -1).map((replica) => this.startReplica(replica)));
    const tls = join(this.directory, 'tls');
    mkdirSync(tls);
    const { key, certificate } = makeCertificate(this.directory, this.#authority, 'DNS:proxy,IP:127.0.0.1');
    copyFileSync(certificate, join(tls, 'tls.crt'));
    copyFileSync(key, join(tls, 'tls.key'));
    copyFileSync(this.#authority.certificate, join(tls, 'ca.crt'));
    writeFileSync(join(tls, 'tls.pem'), `${readFileSync(certificate, 'utf8')}${readFileSync(key, 'utf8')}`);
    const listed = this.#kind.reloads ? this.replicas.slice(0, -1) : this.replicas;
    this.#proxy = await startProxy(this.#kind, {
      ...{ port: await freePort(), replicas: listed, directory: this.directory, tls },
    });
  }

  async startReplica(replica: MeshReplica): Promise<void> {
    const { id, address, metricsPort } = replica;
    const { key, certificate } = this.#server;
    replica.server = await startTestServer({
      flags: [
        ...['--listen', address, '--metrics-listen', `127.0.0.1:${metricsPort}`, '--replica-id', id],
        ...[
          '--session-key',
          join(this.directory, 'session.key'),
          '--peers',
          join(this.directory, 'peers'),
          '--forward',
        ],
        ...['--tls-cert', certificate, '--tls-key', key, '--client-ca', this.#authority.certificate],
        ...['--peer-identities', 'dns:guestfs-grpc'],
        ...(this.#kind.identifiesClients ? ['--xfcc-peers', 'dns:proxy'] : []),
        ...['--max-sessions', '400', '--max-sessions-per-client', '400', '--insecure-isolation'],
        ...['--drain-delay', String(DRAIN_DELAY), '--drain-grace', '30', '--log-level', 'warn'],
      ],
    });
  }

  /** Makes the proxy use the replica that was started last. */
  async added(): Promise<void> {
    if (this.#kind.reloads) await this.proxy.use(this.replicas);
  }

  /** A client of the proxy, on a connection of its own. It repeats by itself only what was refused unprocessed. */
  client(name = 'client'): TestClient {
    const client = new TestClient(this.proxy.address, this.#credentials(name), {
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#clients.push(client);
    return client;
  }

  /** The same for each client of a name: HAProxy tells servers the fingerprint of the certificate. */
  #credentials(name: string): ChannelCredentials {
    const alternative = [['DNS', name]] as const;
    const { key, certificate } =
      this.#certificates.get(name) ?? makeClientCertificate(this.directory, this.#authority, { alternative });
    this.#certificates.set(name, { key, certificate });
    const authority = readFileSync(this.#authority.certificate);
    return credentials.createSsl(authority, readFileSync(key), readFileSync(certificate));
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    const running = this.replicas.flatMap(({ server }) => (server === undefined ? [] : [server]));
    await Promise.all(running.map((server) => server.stop()));
    await this.#proxy?.stop();
    rmSync(this.directory, { recursive: true });
  }
}

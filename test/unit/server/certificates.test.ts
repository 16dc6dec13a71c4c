/** Certificates that are replaced while the server runs. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { credentials, Server, type ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { keepReloading } from '../../../src/cli/reloading.js';
import { createLogger } from '../../../src/common/logger.js';
import { Certificates, type TlsFiles } from '../../../src/server/certificates.js';
import { startAuthority, type Authority } from '../../fakes/secureServer.js';
import { makeAuthority, makeCertificate, makeClientCertificate, type Certificate } from '../../support/certificates.js';
import { eventually } from '../../support/eventually.js';
import { rawUnary } from '../../support/rawCalls.js';
import { failureOf, TestClient } from '../../support/testClient.js';

let authority: Authority;
let other: Certificate;
let files: TlsFiles & { readonly clientCa: string };
beforeAll(() => {
  authority = startAuthority();
  other = makeAuthority(authority.directory);
});
afterAll(() => authority.end());

let count = 0;
beforeEach(() => {
  const directory = join(authority.directory, `files-${count++}`);
  mkdirSync(directory);
  files = {
    certificate: join(directory, 'tls.crt'),
    key: join(directory, 'tls.key'),
    clientCa: join(directory, 'ca.crt'),
  };
  useServerCertificate();
  copyFileSync(authority.certificate.certificate, files.clientCa);
});

/** A new certificate for the server. */
function useServerCertificate(): void {
  const { certificate, key } = makeCertificate(authority.directory, authority.certificate, 'IP:127.0.0.1');
  copyFileSync(certificate, files.certificate);
  copyFileSync(key, files.key);
}

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});
async function start(serverCredentials: ServerCredentials): Promise<string> {
  const server = new Server();
  new HealthImplementation({ '': 'SERVING' }).addToServer(server);
  ends.push(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', serverCredentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return `127.0.0.1:${port}`;
}
function clientOf(address: string, signer: Certificate): TestClient {
  const { key, certificate } = makeClientCertificate(authority.directory, signer, { subject: '/CN=client' });
  const ca = readFileSync(authority.certificate.certificate);
  // Each client has its own connection.
  const client = new TestClient(address, credentials.createSsl(ca, readFileSync(key), readFileSync(certificate)), {
    'grpc.use_local_subchannel_pool': 1,
  });
  ends.push(() => client.close());
  return client;
}
const ask = (client: TestClient): Promise<Buffer> => rawUnary(client, '/grpc.health.v1.Health/Check', Buffer.alloc(0));
/** The fingerprint of the certificate that a new connection gets. */
function served(address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const [host, port] = address.split(':');
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

describe('certificates that are reloaded', () => {
  it('are used for new connections, and do not affect open ones', async () => {
    const certificates = await Certificates.read(files);
    const address = await start(certificates.credentials());
    const open = clientOf(address, authority.certificate);
    await ask(open);
    const before = await served(address);
    useServerCertificate();
    expect(await served(address)).toBe(before);
    await certificates.reload();
    expect(await served(address)).not.toBe(before);
    await ask(open);
    await ask(clientOf(address, authority.certificate));
  });

  it('determine who may connect from then on', async () => {
    const certificates = await Certificates.read(files);
    const address = await start(certificates.credentials());
    const open = clientOf(address, authority.certificate);
    await ask(open);
    expect((await failureOf(ask(clientOf(address, other)))).code).toBe(14);
    copyFileSync(other.certificate, files.clientCa);
    await certificates.reload();
    await ask(clientOf(address, other));
    expect((await failureOf(ask(clientOf(address, authority.certificate)))).code).toBe(14);
    await ask(open);
  });

  it('stay in use if the new ones are invalid', async () => {
    const certificates = await Certificates.read(files);
    const address = await start(certificates.credentials());
    const before = await served(address);
    const key = readFileSync(files.key);
    copyFileSync(other.key, files.key);
    await expect(certificates.reload()).rejects.toThrow(/key values mismatch/);
    writeFileSync(files.key, key);
    writeFileSync(files.certificate, 'nonsense');
    await expect(certificates.reload()).rejects.toThrow();
    expect(await served(address)).toBe(before);
    await ask(clientOf(address, authority.certificate));
    await expect(Certificates.read(files)).rejects.toThrow();
  });

  it('do not require client certificates if there is no CA for them', async () => {
    const certificates = await Certificates.read({ ...files, clientCa: undefined });
    const address = await start(certificates.credentials());
    const ca = readFileSync(authority.certificate.certificate);
    const client = new TestClient(address, credentials.createSsl(ca));
    ends.push(() => client.close());
    await ask(client);
    await certificates.reload();
    await ask(client);
  });
});

describe('files that are watched', () => {
  it('are reloaded when they change, and on SIGHUP', async () => {
    const reload = jest.fn(async () => undefined);
    const lines: string[] = [];
    const logger = createLogger('info', (line) => lines.push(line));
    const before = process.listeners('SIGHUP');
    await keepReloading({ what: 'a', watched: [files.key, files.certificate], reload }, logger, 20);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(reload).not.toHaveBeenCalled();
    writeFileSync(files.key, 'other');
    await eventually(() => reload.mock.calls.length === 1);
    expect(lines.join('')).toContain('a reloaded');

    reload.mockRejectedValueOnce(new Error('wrong'));
    process.emit('SIGHUP');
    await eventually(() => lines.some((line) => line.includes('a cannot be reloaded; the old content stays in use')));
    for (const listener of process.listeners('SIGHUP')) if (!before.includes(listener)) process.off('SIGHUP', listener);
  });
});

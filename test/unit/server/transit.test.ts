/** What those see who can read or change data between a client and a server with TLS. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { readFileSync } from 'node:fs';
import { credentials, status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { makeClientCertificate } from '../../support/certificates.js';
import { failureOf, TestClient } from '../../support/testClient.js';

/** Something that a client says to the server, and the server to the client. */
const LABEL = 'said-in-confidence';

let authority: Authority;
let server: SecureServer;
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});
beforeAll(async () => {
  authority = startAuthority();
  server = await startSecureServer(authority);
});
afterAll(async () => {
  await server.stop();
  authority.end();
});

/** Between a client and the server: keeps all bytes, and can change some. */
async function listener(change: (bytes: Buffer, seen: number) => void): Promise<{
  readonly address: string;
  readonly heard: () => string;
  readonly close: () => void;
}> {
  const heard: Buffer[] = [];
  const middle: Server = createServer((client) => {
    const [host = '', port = ''] = server.address.split(/:(?=\d+$)/);
    const upstream = connect(Number(port), host);
    let seen = 0;
    client.on('data', (bytes: Buffer) => {
      heard.push(Buffer.from(bytes));
      change(bytes, seen);
      seen += bytes.length;
      upstream.write(bytes);
    });
    upstream.on('data', (bytes: Buffer) => {
      heard.push(bytes);
      client.write(bytes);
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      one.on('error', () => undefined).on('close', () => other.destroy());
  }).listen(0, '127.0.0.1');
  await once(middle, 'listening');
  return {
    address: `127.0.0.1:${(middle.address() as AddressInfo).port}`,
    heard: () => Buffer.concat(heard).toString('latin1'),
    close: () => void middle.close(),
  };
}

function clientAt(address: string): TestClient {
  const { key, certificate } = makeClientCertificate(authority.directory, authority.certificate, {
    subject: '/CN=ann',
  });
  const ca = readFileSync(authority.certificate.certificate);
  return new TestClient(address, credentials.createSsl(ca, readFileSync(key), readFileSync(certificate)));
}

describe('between a client and a server with TLS', () => {
  it('nothing of what they say can be read', async () => {
    const { address, heard, close } = await listener(() => undefined);
    const client = clientAt(address);
    ends.push(() => client.close(), close);
    const { id } = await client.createSession({ session_id: LABEL });
    expect(id).toBe(LABEL);
    await client.deleteSession(id);
    expect(heard().length).toBeGreaterThan(1000);
    expect(heard()).not.toMatch(/said-in-confidence|guestfs|CreateSession|grpc|CN=ann|ann/);
  });

  it('nothing can be changed: no such call has an effect', async () => {
    let changes = 0;
    const { address, close } = await listener((bytes, seen) => {
      // All but the greeting, which is not secret: the client's certificate as well as its calls.
      if (seen === 0) return;
      changes += 1;
      const last = bytes.length - 1;
      bytes[last] = (bytes[last] ?? 0) ^ 1;
    });
    const client = clientAt(address);
    ends.push(() => client.close(), close);
    const call = client.createSession({ session_id: LABEL }, { deadline: Date.now() + 3000 });
    expect([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]).toContain((await failureOf(call)).code);
    expect(changes).toBeGreaterThan(0);
    expect(server.registry.size).toBe(0);
  });
});

/** Channelz: what it shows, and to whom. */
import {
  credentials,
  getChannelzServiceDefinition,
  makeGenericClientConstructor,
  status,
  type Client,
  type ClientDuplexStream,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/common/logger.js';
import { sameForAll, type AccessPolicy } from '../../../src/security/access.js';
import { ownDirectories } from '../../../src/security/ownDirectories.js';
import type { ServerPolicy } from '../../../src/security/policy.js';
import { RolePolicy } from '../../../src/security/rolePolicy.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { servedSession } from '../../fakes/servedSession.js';
import { SessionClient, TestClient } from '../../support/testClient.js';

jest.setTimeout(60_000);

const REFLECTION = 'node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto';
const Channelz = makeGenericClientConstructor(getChannelzServiceDefinition(), 'Channelz');

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Calls Channelz over the channel of a client. */
function ask(client: TestClient, rpc: string, request: object = {}): Promise<Record<string, never>> {
  const channelz = new Channelz(client.address, credentials.createInsecure(), {
    channelOverride: client.channel.getChannel(),
  }) as unknown as Client & Record<string, (request: object, callback: (...given: never[]) => void) => void>;
  return new Promise((resolve, reject) =>
    channelz[rpc]?.(request, (error: ServiceError | null, answer: Record<string, never>) =>
      error === null ? resolve(answer) : reject(error),
    ),
  );
}

async function codeOf(call: Promise<unknown>): Promise<status | 'OK'> {
  return call.then(
    () => 'OK' as const,
    (error: ServiceError) => error.code,
  );
}

interface ServerEntry {
  readonly ref: { readonly server_id: string };
  readonly data: { readonly calls_started: string; readonly calls_failed: string };
}

const policy: ServerPolicy = { imageRoots: { directories: [] }, allowed: new Set(['channelz']) };

async function plainServer(channelz: boolean, access = sameForAll(policy)): Promise<TestClient> {
  const server = await servedSession({ channelz, access });
  const client = new TestClient(server.server.address);
  ends.push(
    () => server.stop(),
    () => client.close(),
  );
  return client;
}

describe('Channelz', () => {
  it('shows calls and connections', async () => {
    const client = await plainServer(true);
    await new SessionClient(client, 'test').call('touch', { path: '/x' });
    await new SessionClient(client, 'none').failure('touch', { path: '/x' });
    const servers = (await ask(client, 'GetServers'))['server'] as unknown as readonly ServerEntry[];
    const [server] = servers.filter(({ data }) => Number(data.calls_started) > 0);
    expect(server?.data).toMatchObject({ calls_started: '3', calls_failed: '1' });
    const server_id = server?.ref.server_id;
    expect(await ask(client, 'GetServer', { server_id })).toMatchObject({ server: { ref: { server_id } } });
    const sockets = (await ask(client, 'GetServerSockets', { server_id }))['socket_ref'] as unknown as readonly {
      readonly socket_id: string;
    }[];
    expect(sockets).toHaveLength(1);
    const { socket } = await ask(client, 'GetSocket', { socket_id: sockets[0]?.socket_id });
    expect(socket).toMatchObject({
      remote: { tcpip_address: { ip_address: Buffer.from([127, 0, 0, 1]) } },
      data: { streams_started: expect.stringMatching(/^\d+$/) },
    });
    expect(await ask(client, 'GetTopChannels', { max_results: '1000000000' })).toHaveProperty('end');
  });

  it.each([true, false])('is described by reflection if it is offered: %s', async (offered) => {
    const client = await plainServer(offered);
    const definition = loadSync(REFLECTION, { keepCase: true })['grpc.reflection.v1.ServerReflection'];
    const Reflection = makeGenericClientConstructor(definition as unknown as ServiceDefinition, 'ServerReflection');
    const reflection = new Reflection(client.address, credentials.createInsecure(), {
      channelOverride: client.channel.getChannel(),
    }) as unknown as { ServerReflectionInfo(): ClientDuplexStream<object, Readonly<Record<string, object>>> };
    const stream = reflection.ServerReflectionInfo();
    stream.end({ file_containing_symbol: 'grpc.channelz.v1.Channelz' });
    for await (const answer of stream)
      expect(Object.keys(answer as object)).toContain(offered ? 'file_descriptor_response' : 'error_response');
    expect.assertions(1);
  });

  it('says so if nothing has an ID', async () => {
    const client = await plainServer(true);
    for (const [rpc, field] of [
      ['GetServer', 'server_id'],
      ['GetServerSockets', 'server_id'],
      ['GetChannel', 'channel_id'],
      ['GetSubchannel', 'subchannel_id'],
      ['GetSocket', 'socket_id'],
    ] as const)
      expect([rpc, await codeOf(ask(client, rpc, { [field]: '987654321' }))]).toEqual([rpc, status.NOT_FOUND]);
  });

  it('is not there unless the server offers it', async () => {
    expect(await codeOf(ask(await plainServer(false), 'GetServers'))).toBe(status.UNIMPLEMENTED);
  });

  it('needs the permission', async () => {
    const without = sameForAll({ ...policy, allowed: new Set() });
    expect(await codeOf(ask(await plainServer(true, without), 'GetServers'))).toBe(status.PERMISSION_DENIED);
  });
});

describe('on a server with identities, Channelz', () => {
  let authority: Authority;
  let directory: string;
  beforeAll(() => {
    authority = startAuthority();
    directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-channelz-'));
  });
  afterAll(() => {
    authority.end();
    rmSync(directory, { recursive: true });
  });

  async function secureServer(access: AccessPolicy): Promise<SecureServer> {
    const server = await startSecureServer(authority, { access, channelz: true });
    ends.push(() => server.stop());
    return server;
  }

  it('is for roles that have the permission, even among those that may call everything', async () => {
    const file = join(directory, 'policy.yaml');
    writeFileSync(
      file,
      `
roles:
  operator: { calls: [Channelz], permissions: [channelz] }
  reader: { calls: [read] }
  tenant: {}
identities:
  - { match: ["cn:operator"], role: operator }
  - { match: ["cn:reader"], role: reader }
  - { match: ["cn:*"], role: tenant }
`,
    );
    const server = await secureServer(await RolePolicy.read(file, policy));
    const codes = ['operator', 'reader', 'tenant'].map((name) =>
      codeOf(ask(server.client({ subject: `/CN=${name}` }), 'GetServers')),
    );
    expect(await Promise.all(codes)).toEqual(['OK', status.PERMISSION_DENIED, status.PERMISSION_DENIED]);
  });

  it('is for operators only if there is no policy', async () => {
    const server = await secureServer(ownDirectories(policy, silentLogger, new Set(['cn:operator'])));
    const codes = ['operator', 'tenant'].map((name) =>
      codeOf(ask(server.client({ subject: `/CN=${name}` }), 'GetServers')),
    );
    expect(await Promise.all(codes)).toEqual(['OK', status.PERMISSION_DENIED]);
  });
});

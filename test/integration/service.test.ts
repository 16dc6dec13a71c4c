/** What a service mesh needs of the server: health, reflection, TLS, metrics, an orderly end, and no end without one. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from '@grpc/grpc-js';
import {
  credentials,
  loadPackageDefinition,
  status,
  type ChannelCredentials,
  type ClientReadableStream,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { ended } from '../support/processes.js';
import { rawUnary } from '../support/rawCalls.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { asFailure, failureOf, imageDrive, scratchDrive, SessionClient, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, MAIN, metricsOf, plainEnvironment, startTestServer } from '../support/testServer.js';

interface HealthClient extends Client {
  check(request: { service: string }, callback: (error: Error | null, response: { status: string }) => void): void;
  watch(request: { service: string }): ClientReadableStream<{ status: string }>;
}
const HealthClient = loadPackageDefinition({ Health: healthService })['Health'] as ServiceClientConstructor;

function healthClient(address: string): HealthClient {
  return new HealthClient(address, credentials.createInsecure()) as unknown as HealthClient;
}

async function health(address: string, service: string): Promise<string> {
  const client = healthClient(address);
  try {
    return await new Promise((resolve, reject) =>
      client.check({ service }, (error, response) => (error ? reject(asFailure(error)) : resolve(response.status))),
    );
  } finally {
    client.close();
  }
}

/** One question to server reflection in one of its versions. */
async function reflect(address: string, version: 'v1' | 'v1alpha', question: object): Promise<Record<string, unknown>> {
  const file = fileURLToPath(
    new URL(
      `../../../node_modules/@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`,
      import.meta.url,
    ),
  );
  const service = loadSync(file, { keepCase: true })[`grpc.reflection.${version}.ServerReflection`];
  const Reflection = loadPackageDefinition({ Reflection: service as never })['Reflection'] as ServiceClientConstructor;
  const client = new Reflection(address, credentials.createInsecure()) as unknown as {
    ServerReflectionInfo(): NodeJS.ReadWriteStream;
  } & Client;
  try {
    const stream = client.ServerReflectionInfo();
    const answer = once(stream, 'data');
    stream.end(question as never);
    const [response] = (await answer) as [Record<string, unknown>];
    await once(stream, 'end');
    return response;
  } finally {
    client.close();
  }
}

describe('a server without sessions', () => {
  const scene = serverForTests({ env: { GUESTFS_GRPC_MAX_SESSIONS: '1' } });

  it('is healthy, in total and service by service', async () => {
    for (const service of ['', 'guestfs.v1.SessionService', 'guestfs.v1.EventService', 'guestfs.v1.LvmService']) {
      expect(await health(scene.server.address, service)).toBe('SERVING');
    }
  });

  it('does not know the health of others', async () => {
    expect((await failureOf(health(scene.server.address, 'other.Service'))).code).toBe(status.NOT_FOUND);
  });

  it.each(['v1', 'v1alpha'] as const)('lists and describes its services by reflection %s', async (version) => {
    const listed = await reflect(scene.server.address, version, { list_services: '' });
    const names = (listed['list_services_response'] as { service: { name: string }[] }).service.map(({ name }) => name);
    // Offered only on request.
    expect(names).not.toContain('grpc.channelz.v1.Channelz');
    expect(names).toEqual(
      expect.arrayContaining([
        'guestfs.v1.SessionService',
        'guestfs.v1.EventService',
        'guestfs.v1.InspectionService',
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
      ]),
    );
    // Each can be described, and so can the details of errors.
    const symbols = [...names, 'guestfs.v1.LvmService.Lvcreate', 'google.rpc.Status', 'google.rpc.ErrorInfo'];
    for (const symbol of symbols) {
      const described = await reflect(scene.server.address, version, { file_containing_symbol: symbol });
      const { file_descriptor_proto: files } = described['file_descriptor_response'] as {
        file_descriptor_proto: Buffer[];
      };
      const message = symbol.split('.').at(-1) ?? '';
      expect(files.some((file) => file.includes(message))).toBe(true);
    }
  });

  it('also takes its flags from the environment', async () => {
    const { id } = await scene.client.createSession();
    expect((await failureOf(scene.client.createSession())).info).toMatchObject({
      reason: 'TOO_MANY_SESSIONS',
      retryAfterMs: expect.any(Number),
      metadata: { limit: '1' },
    });
    await scene.client.deleteSession(id);
  });

  it('refuses DebugService, naming the flag', async () => {
    const { id } = await scene.client.createSession();
    const failure = await new SessionClient(scene.client, id).failure('debug', { subcmd: 'help' });
    expect(failure).toMatchObject({
      code: status.PERMISSION_DENIED,
      details: expect.stringContaining('--debug-service'),
    });
    await scene.client.deleteSession(id);
  });

  it('answers UNIMPLEMENTED to a method that is not there', async () => {
    const call = rawUnary(scene.client, '/guestfs.v1.FileService/Nonsense', Buffer.alloc(0));
    expect((await failureOf(call)).code).toBe(status.UNIMPLEMENTED);
  });
});

describe('the command', () => {
  it.each([[['--nonsense']], [['--listen', 'nowhere']], [['--allow', 'everything']]])(
    'exits with 2 and says what is wrong with %j',
    (args) => {
      const result = spawnSync(process.execPath, [MAIN, ...args], { env: plainEnvironment(), encoding: 'utf8' });
      expect(result.status).toBe(2);
      expect(result.stderr).toContain(args[0]);
    },
  );

  it('has a help text', () => {
    const result = spawnSync(process.execPath, [MAIN, '--help'], { env: plainEnvironment(), encoding: 'utf8' });
    expect(result.status).toBe(0);
    expect(result.stdout).toContain('--image-root');
  });

  it('serves metrics', async () => {
    const server = await startTestServer({ flags: ['--metrics-listen', '127.0.0.1:0'] });
    const client = new TestClient(server.address);
    await client.createSession();
    const text = await metricsOf(server);
    expect(text).not.toContain('guestfs_pool_waiting_clones');
    expect(text).toContain('guestfs_sessions{state="CONFIG"} 1');
    const method = 'grpc_type="unary",grpc_service="guestfs.v1.SessionService",grpc_method="CreateSession"';
    expect(text).toContain(`grpc_server_started_total{${method}} 1`);
    expect(text).toContain(`grpc_server_handled_total{${method},grpc_code="OK"} 1`);
    expect(text).toContain(`grpc_server_handling_seconds_count{${method}} 1`);
    expect(text).toContain('guestfs_free_sessions 63');
    expect(text).toContain('guestfs_owned_sessions{identity_kind="none"} 1');
    expect(text).toContain('guestfs_qemu_processes{state="READY"} 0');
    const page = readFileSync(fileURLToPath(new URL('../../../docs/observability.md', import.meta.url)), 'utf8');
    const documented = [...page.matchAll(/^\| `((?:grpc|guestfs)_\w+)`/gm)].map(([, name]) => name);
    const served = [...text.matchAll(/^# TYPE ((?:grpc|guestfs)_\w+)/gm)].map(([, name]) => name);
    // Of a pool, and of traces.
    const conditional = ['guestfs_pool_waiting_clones', 'guestfs_exported_spans_total'];
    expect(served.sort()).toEqual(documented.filter((name = '') => !conditional.includes(name)).sort());
    // A gauge with the suffix of a counter; promtool finds no other fault either.
    expect([...text.matchAll(/^# TYPE (\w+_total) (?!counter)/gm)]).toEqual([]);
    client.close();
    expect(await server.stop('SIGINT')).toEqual(CLEAN_END);
  });

  it('tells why it is not ready', async () => {
    const temporary = mkdtempSync(join(tmpdir(), 'guestfs-grpc-readiness-'));
    const server = await startTestServer({ flags: ['--metrics-listen', '127.0.0.1:0'], temporary });
    const address = logged(server, 'serving metrics').at(-1)?.['address'];
    const ask = async (path: string): Promise<[number, string]> => {
      const response = await fetch(`http://${String(address)}${path}`);
      return [response.status, await response.text()];
    };
    expect(await ask('/readyz?verbose')).toEqual([200, 'ok\n']);
    // A file in its place: root may write into any directory.
    renameSync(temporary, `${temporary}-away`);
    writeFileSync(temporary, '');
    await eventually(async () => (await ask('/readyz'))[0] === 503);
    expect((await ask('/readyz'))[1]).toContain('no files can be created');
    expect(await ask('/healthz')).toEqual([200, 'ok\n']);
    expect((await ask('/metrics?x=1'))[0]).toBe(200);
    expect((await ask('/other'))[0]).toBe(404);
    rmSync(temporary);
    renameSync(`${temporary}-away`, temporary);
    expect(await server.stop()).toEqual(CLEAN_END);
    rmSync(temporary, { recursive: true });
  });
});

describe('TLS', () => {
  let directory: string;
  const file = (name: string): string => join(directory, name);
  const pem = (name: string): Buffer => readFileSync(file(name));
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  const channel = (name?: string): ChannelCredentials =>
    name === undefined
      ? credentials.createSsl(pem('ca.pem'))
      : credentials.createSsl(pem('ca.pem'), pem(`${name}.key`), pem(`${name}.pem`));

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-tls-'));
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-subj',
      '/CN=Test CA',
      '-days',
      '2',
    );
    for (const [name, extension] of [
      ['server', 'subjectAltName=IP:127.0.0.1'],
      ['alice', 'subjectAltName=URI:spiffe://test/alice'],
      ['bob', 'subjectAltName=URI:spiffe://test/bob'],
    ] as const) {
      openssl(
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.pem`,
        '-subj',
        `/CN=${name}`,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-addext',
        extension,
        '-days',
        '2',
      );
    }
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it('is served with a certificate, and nothing else is', async () => {
    const server = await startTestServer({
      flags: ['--tls-cert', file('server.pem'), '--tls-key', file('server.key')],
    });
    const [secure, plain] = [new TestClient(server.address, channel()), new TestClient(server.address)];
    await secure.createSession();
    expect((await failureOf(plain.createSession())).code).toBe(status.UNAVAILABLE);
    secure.close();
    plain.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  it("asks clients for certificates, and a session is its creator's", async () => {
    const server = await startTestServer({
      flags: ['--tls-cert', file('server.pem'), '--tls-key', file('server.key'), '--client-ca', file('ca.pem')],
    });
    const [alice, bob, nobody] = [
      new TestClient(server.address, channel('alice')),
      new TestClient(server.address, channel('bob')),
      new TestClient(server.address, channel()),
    ];
    const { id } = await alice.createSession();
    await alice.getSession(id);
    const calls = [bob.getSession(id), bob.deleteSession(id), new SessionClient(bob, id).call('get_memsize')];
    for (const failure of await Promise.all(calls.map((call) => failureOf(call))))
      expect(failure).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'SESSION_UNKNOWN' } });
    expect((await failureOf(nobody.createSession())).code).toBe(status.UNAVAILABLE);
    for (const client of [alice, bob, nobody]) client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });
});

describeWithAppliance('the end of a server', () => {
  it('in this order: not serving, no new sessions, open ones synced and closed', async () => {
    const server = await startTestServer();
    const client = new TestClient(server.address);
    const image = emptyImage(join(server.images, 'disk.img'), 64);
    const session = await launchSession(client, [imageDrive('disk.img')]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('write', { path: '/kept', content: Buffer.from('still here') });

    const watcher = healthClient(server.address);
    const watched = watcher.watch({ service: '' });
    watched.on('error', () => undefined);
    const states: string[] = [];
    const notServing = new Promise<void>((resolve) => {
      watched.on('data', ({ status: state }: { status: string }) => {
        states.push(state);
        if (state === 'NOT_SERVING') resolve();
      });
    });
    await once(watched, 'data');

    server.process.kill('SIGTERM');
    await notServing;
    expect(await failureOf(client.createSession())).toMatchObject({ code: status.UNAVAILABLE });
    await once(server.process, 'exit');
    expect(states).toEqual(['SERVING', 'NOT_SERVING']);
    expect(debugfs(image, 0, 'cat /kept')).toBe('still here');
    watcher.close();
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  // Somebody who is not root cannot mount what is too small.
  (process.geteuid?.() === 0 ? it : it.skip)('with an error when a session could not be written out', async () => {
    const server = await startTestServer();
    const client = new TestClient(server.address);
    const small = join(server.images, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
    try {
      emptyImage(join(small, 'disk.img'), 64);
      const session = await launchSession(client, [imageDrive('small/disk.img')]);
      const content = Buffer.alloc(2 << 20, 1);
      // Whether the daemon hears of it is not what matters: the host has no room for the last of it.
      await session.call('pwrite_device', { device: '/dev/sda', content, offset: 0n }).catch(() => undefined);
      client.close();
      server.process.kill('SIGTERM');
      expect(await once(server.process, 'exit')).toEqual([1, null]);
    } finally {
      execFileSync('umount', [small]);
    }
    expect(logged(server, 'shutdown failed')).toEqual([
      expect.objectContaining({
        level: 'error',
        err: expect.objectContaining({ message: '1 of 1 sessions ended with an error' }),
      }),
    ]);
    expect(await server.stop()).toEqual({ ...CLEAN_END, code: 1 });
  });

  it('by SIGKILL ends its qemu as well, and the next server removes what is left', async () => {
    const temporary = mkdtempSync(join(tmpdir(), 'guestfs-grpc-killed-'));
    const server = await startTestServer({ temporary });
    const client = new TestClient(server.address);
    await launchSession(client, [scratchDrive(1 << 20)]);
    const machines = server.machines().filter(({ name }) => name.startsWith('qemu'));
    expect(machines).toHaveLength(1);
    const killed = await server.stop('SIGKILL');
    await Promise.all(machines.map(({ pid }) => ended(pid)));
    expect(killed.files).not.toEqual([]);
    client.close();

    const next = await startTestServer({ temporary });
    expect(await next.stop()).toEqual(CLEAN_END);
    rmSync(temporary, { recursive: true });
  });
});

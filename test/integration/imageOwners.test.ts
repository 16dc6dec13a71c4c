/** Images of identities, on the real command with client certificates: who may use which, and how that changes. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { credentials } from '@grpc/grpc-js';
import { describeWithAppliance } from '../support/appliance.js';
import { makeAuthority, makeClientCertificate, type Certificate } from '../support/certificates.js';
import { emptyImage } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { launchSession } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer, type TestServer, type TestServerOptions } from '../support/testServer.js';

let directory: string;
let authority: Certificate;
const clients: TestClient[] = [];
const servers: TestServer[] = [];
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-owners-'));
  authority = makeAuthority(directory);
});
afterAll(() => {
  for (const client of clients) client.close();
  // Those of tests that failed.
  for (const { process: child } of servers) if (child.exitCode === null) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

async function start(options: TestServerOptions): Promise<TestServer> {
  const server = await startTestServer(options);
  servers.push(server);
  return server;
}

const tls = (): string[] => [
  ...['--tls-cert', authority.certificate, '--tls-key', authority.key],
  ...['--client-ca', authority.certificate],
];
function clientOf(server: TestServer, name: string): TestClient {
  const { key, certificate } = makeClientCertificate(directory, authority, { subject: `/CN=${name}` });
  const [ca, ownKey, own] = [authority.certificate, key, certificate].map((path) => readFileSync(path));
  const client = new TestClient(server.address, credentials.createSsl(ca, ownKey, own));
  clients.push(client);
  return client;
}

describeWithAppliance('two identities and no policy', () => {
  it('have no access to each other, whatever the state of their sessions', async () => {
    const server = await start({ flags: [...tls(), '--allow', 'host-actions'] });
    const [alice, bob] = [clientOf(server, 'alice'), clientOf(server, 'bob')];
    const theirs = await launchSession(bob, [scratchDrive(64 << 20)]);
    await theirs.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
    await theirs.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await theirs.call('write', { path: '/file', content: Buffer.from('from bob') });

    const home = join(server.images, 'cn%3Aalice');
    await alice.createSession({ session_id: 'first' });
    const image = emptyImage(join(home, 'disk.img'), 1);
    const before = readFileSync(image);
    const running = await launchSession(alice, [imageDrive('disk.img')]);
    await running.call('pwrite_device', { device: '/dev/sda', content: Buffer.from('alice'), offset: 0n });

    const outside = { reason: 'OUTSIDE_IMAGE_ROOTS' };
    for (const path of [image, '../cn%3Aalice/disk.img', home]) {
      for (const [name, request] of [
        ['add_drive', { filename: path, label: 'x' }],
        ['add_drive', { filename: path, readonly: true, label: 'x' }],
        ['disk_create', { filename: path, format: 'raw', size: 512n, overwrite: true }],
        ['copy_in', { localpath: path, remotedir: '/' }],
        ['copy_out', { remotepath: '/file', localdir: path }],
      ] as const)
        expect([name, (await theirs.failure(name, request)).info]).toMatchObject([name, outside]);
    }
    expect(readdirSync(home)).toEqual(['disk.img']);
    expect(readFileSync(image)).toHaveLength(before.length);

    // Their own images work as before.
    await theirs.call('copy_out', { remotepath: '/file', localdir: join(server.images, 'cn%3Abob') });
    expect(readFileSync(join(server.images, 'cn%3Abob/file'), 'utf8')).toBe('from bob');
    await theirs.call('disk_create', { filename: 'hot.img', format: 'raw', size: 1n << 20n });
    await theirs.call('add_drive', { filename: 'hot.img', label: 'hot' });
    expect(await theirs.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
    for (const [client, id] of [
      [bob, theirs.id],
      [alice, running.id],
      [alice, 'first'],
    ] as const)
      await client.deleteSession(id);
    expect(readFileSync(image).subarray(0, 5).toString()).toBe('alice');
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  it('are stopped by the launch, where a policy lets an image be read only', async () => {
    const policy = join(directory, 'read.yaml');
    writeFileSync(
      policy,
      'roles: { r: { images: [{ path: base, access: read }] } }\nidentities: [{ match: ["cn:*"], role: r }]',
    );
    const server = await start({ flags: [...tls(), '--policy', policy] });
    mkdirSync(join(server.images, 'base'));
    emptyImage(join(server.images, 'base/os.img'), 1);
    const carol = clientOf(server, 'carol');
    const writable = carol.createSession({ drives: [imageDrive('os.img')], launch: true });
    expect((await failureOf(writable)).info?.reason).toBe('NOT_ALLOWED');
    const session = await launchSession(carol, [imageDrive('os.img', { writable: false })]);
    expect((await session.failure('add_drive', { filename: 'os.img', label: 'w' })).info?.reason).toBe('NOT_ALLOWED');
    await session.call('add_drive', { filename: 'os.img', readonly: true, label: 'r' });
    await carol.deleteSession(session.id);
    expect(await server.stop()).toEqual(CLEAN_END);
  });
});

describe('a policy file', () => {
  it('is reloaded on SIGHUP, and an invalid one changes nothing', async () => {
    const policy = join(directory, 'policy.yaml');
    const write = (calls: string): void =>
      writeFileSync(policy, `roles: { r: { calls: [${calls}] } }\nidentities: [{ match: ["cn:eve"], role: r }]`);
    write('all');
    const server = await start({ flags: [...tls(), '--policy', policy] });
    const eve = clientOf(server, 'eve');
    const { id } = await eve.createSession();
    write('nonsense');
    server.process.kill('SIGHUP');
    await eventually(() => logged(server, 'policy cannot be reloaded; the old content stays in use').length === 1);
    await eve.getSession(id);
    write('ListSessions');
    server.process.kill('SIGHUP');
    await eventually(() => logged(server, 'policy reloaded').length === 1);
    expect((await failureOf(eve.getSession(id))).info?.reason).toBe('NOT_ALLOWED');
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  it('that is wrong keeps the server from starting', async () => {
    const policy = join(directory, 'wrong.yaml');
    writeFileSync(policy, 'roles: { r: { imgs: [] } }\nidentities: []');
    await expect(start({ flags: [...tls(), '--policy', policy] })).rejects.toThrow(
      /--policy: .*wrong\.yaml: roles\.r: .*"imgs"/s,
    );
  });
});

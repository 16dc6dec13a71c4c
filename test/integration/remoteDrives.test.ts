/** Drives that servers on the network have: real servers, as they come with a distribution. */
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { builtAppliance, describeWhen, describeWithAppliance } from '../support/appliance.js';
import { emptyImage, sha256 } from '../support/diskImages.js';
import { freePort, makeSshKey, nbdkit, nginx, qemuNbd, sshd, type DiskServer } from '../support/diskServers.js';
import { eventually } from '../support/eventually.js';
import { serverForTests, type Scene } from '../support/scene.js';
import { failureOf, SessionClient } from '../support/testClient.js';

const SIZE_MB = 16;
/** With what means something to qemu's parsers. */
const SECRET = 'open, "sesame"\\';
const WORDS = Buffer.from('written by a guest');

const servers: DiskServer[] = [];
const running = async (starting: Promise<DiskServer>): Promise<DiskServer> => {
  const server = await starting;
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

const newSession = async ({ client }: Scene): Promise<SessionClient> => new SessionClient(client, (await client.createSession()).id);

async function launched(scene: Scene, filename: string, options: object): Promise<SessionClient> {
  const session = await newSession(scene);
  await session.call('add_drive', { filename, ...options });
  await session.call('launch');
  return session;
}

const write = (session: SessionClient): Promise<unknown> => session.call('pwrite_device', { device: '/dev/sda', content: WORDS, offset: 4096n });
const read = (session: SessionClient): Promise<Buffer> => session.call('pread_device', { device: '/dev/sda', count: WORDS.length, offset: 4096n });
const wordsIn = (image: string): string => readFileSync(image).subarray(4096, 4096 + WORDS.length).toString();

const filesBelow = (directory: string): string[] => readdirSync(directory, { recursive: true, encoding: 'utf8' });

describeWithAppliance('drives over NBD', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let count = 0;
  const newImage = (): string => emptyImage(join(scene.server.images, `disk${(count += 1)}.img`), SIZE_MB);

  it.each<[string, (image: string, socket: string) => Promise<DiskServer>, string]>([
    ['nbdkit over TCP', (image) => nbdkit(image), ''],
    ['nbdkit over a Unix socket', (image, socket) => nbdkit(image, { socket }), ''],
    ['qemu-nbd over TCP', (image) => qemuNbd(image, { name: 'a disk/1' }), 'a disk/1'],
    ['qemu-nbd over a Unix socket', (image, socket) => qemuNbd(image, { socket }), ''],
  ])('are written through %s', async (_what, serve, name) => {
    const image = newImage();
    const { address } = await running(serve(image, `${image}.sock`));
    const session = await launched(scene, name, { protocol: 'nbd', server: { values: [address] }, format: 'raw' });
    expect(await session.call('blockdev_getsize64', { device: '/dev/sda' })).toBe(BigInt(SIZE_MB << 20));
    await write(session);
    await session.call('sync');
    expect(await read(session)).toEqual(WORDS);
    await scene.client.deleteSession(session.id);
    expect(wordsIn(image)).toBe(WORDS.toString());
  });

  it('are not written when they are read-only', async () => {
    const image = newImage();
    const before = await sha256(image);
    const { address } = await running(nbdkit(image, { flags: ['--readonly'] }));
    const session = await launched(scene, '', { protocol: 'nbd', server: { values: [`tcp:${address}`] }, readonly: true });
    await write(session);
    expect(await read(session)).toEqual(WORDS);
    await scene.client.deleteSession(session.id);
    expect(await sha256(image)).toBe(before);
  });

  it('take all options of drives', async () => {
    const image = newImage();
    const { address } = await running(qemuNbd(image, { flags: ['--discard=unmap'] }));
    const options = { protocol: 'nbd', server: { values: [address] }, cachemode: 'unsafe', discard: 'enable', copyonread: true, blocksize: 4096, label: 'remote' };
    const session = await launched(scene, '', options);
    expect(await session.call('blockdev_getss', { device: '/dev/disk/guestfs/remote' })).toBe(4096);
    await write(session);
    await session.call('blkdiscard', { device: '/dev/sda' });
    expect(await session.call('is_zero_device', { device: '/dev/sda' })).toBe(true);
    await scene.client.deleteSession(session.id);
  });

  it('fail with the address when there is no server, and the session goes on', async () => {
    const image = newImage();
    const port = await freePort();
    const session = await newSession(scene);
    await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [`127.0.0.1:${port}`] } });
    const failure = await failureOf(session.call('launch'));
    expect(failure).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'IMAGE_UNUSABLE' } });
    expect(failure.details).toContain(`nbd drive '127.0.0.1:${port}'`);
    expect(failure.details).toContain('Connection refused');
    await running(nbdkit(image, { port }));
    await session.call('launch');
    await write(session);
    await scene.client.deleteSession(session.id);
    expect(wordsIn(image)).toBe(WORDS.toString());
  });

  it('fail in time when the server does not answer', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const session = await newSession(scene);
    await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [`127.0.0.1:${port}`] } });
    expect((await failureOf(session.call('launch'))).details).toMatch(new RegExp(`127.0.0.1:${port}.*did not answer within`));
    silent.close();
    await scene.client.deleteSession(session.id);
  });

  it.each([
    ['unix:/run/outside.sock', 'OUTSIDE_IMAGE_ROOTS'],
    ['unix:disk1.img', 'IMAGE_UNUSABLE'],
    ['unix:gone.sock', 'IMAGE_MISSING'],
  ])('are no sockets such as %s', async (address, reason) => {
    newImage();
    const session = await newSession(scene);
    expect(await failureOf(session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [address] } }))).toMatchObject({ info: { reason } });
  });

  it('are raw, since a header could lead elsewhere', async () => {
    const image = newImage();
    const { address } = await running(nbdkit(image));
    const session = await newSession(scene);
    await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [address] }, format: 'qcow2', readonly: true });
    expect((await failureOf(session.call('launch'))).details).toContain('qemu-nbd --format=qcow2');
  });
});

describeWithAppliance('drives over HTTP', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let image: string;
  let directory: string;

  beforeAll(() => {
    image = emptyImage(join(scene.server.images, 'a disk?.img'), SIZE_MB);
    const file = openSync(image, 'r+');
    writeSync(file, WORDS, 0, WORDS.length, 4096);
    closeSync(file);
    directory = mkdtempSync(join(scene.server.images, 'nginx-'));
    // For whom nginx drops its rights to.
    chmodSync(scene.server.images, 0o755);
  });

  it('are read, and written in an overlay', async () => {
    const before = await sha256(image);
    const { address } = await running(nginx({ root: scene.server.images, directory }));
    const session = await launched(scene, '/a disk?.img', { protocol: 'http', server: { values: [address] }, readonly: true });
    expect(await read(session)).toEqual(WORDS);
    await session.call('zero_device', { device: '/dev/sda' });
    expect(await session.call('is_zero_device', { device: '/dev/sda' })).toBe(true);
    await scene.client.deleteSession(session.id);
    expect(await sha256(image)).toBe(before);
    expect(readFileSync(join(directory, 'access.log'), 'utf8')).toMatch(/"GET \/a%20disk%3F.img HTTP\/1.1" 206 /);
  });

  it('say so when the password is wrong, without repeating it', async () => {
    const { address } = await running(nginx({ root: scene.server.images, directory, login: { user: 'ali', password: SECRET } }));
    const session = await newSession(scene);
    await session.call('add_drive', { filename: '/a disk?.img', protocol: 'http', server: { values: [address] }, username: 'ali', secret: 'guessed', readonly: true });
    const { details } = await failureOf(session.call('launch'));
    expect(details).toContain(`http drive 'ali@${address}/a disk?.img'`);
    expect(details).toContain('401');
    expect(details).not.toContain('guessed');
  });

  it('can be read only', async () => {
    const session = await newSession(scene);
    expect(await failureOf(session.call('add_drive', { filename: '/x', protocol: 'http', server: { values: ['localhost'] } }))).toMatchObject({ code: status.INVALID_ARGUMENT, info: { fields: ['readonly'] } });
  });
});

/** Where the hosts are that every user of this machine knows. */
const KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts';

/** Only root can make a host known, or start an SSH server that others than itself can log in to. */
const whyNoSsh = process.geteuid?.() !== 0 ? 'it takes root' : builtAppliance('trixie') === undefined ? 'there is no appliance: npm run appliance' : undefined;

describeWhen('drives over SSH', whyNoSsh, () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let image: string;
  let directory: string;
  let port: number;
  let knownBefore: string | undefined;
  let options: Record<string, unknown>;
  let key: string;

  const know = (hostKey: string): void => writeFileSync(KNOWN_HOSTS, `${knownBefore ?? ''}[127.0.0.1]:${port} ${hostKey}\n`);

  beforeAll(async () => {
    mkdirSync('/run/sshd', { recursive: true });
    knownBefore = existsSync(KNOWN_HOSTS) ? readFileSync(KNOWN_HOSTS, 'utf8') : undefined;
    image = emptyImage(join(scene.server.images, 'disk.img'), SIZE_MB);
    directory = mkdtempSync(join(scene.server.images, 'ssh-'));
    makeSshKey(join(directory, 'host'));
    makeSshKey(join(directory, 'client'));
    key = readFileSync(join(directory, 'client'), 'utf8');
    port = await freePort();
    options = { protocol: 'ssh', server: { values: [`127.0.0.1:${port}`] }, username: 'root', secret: key };
  });
  beforeEach(async () => {
    know(readFileSync(join(directory, 'host.pub'), 'utf8').trim());
    await running(sshd({ directory, port }));
  });
  afterEach(() => {
    if (knownBefore === undefined) rmSync(KNOWN_HOSTS, { force: true });
    else writeFileSync(KNOWN_HOSTS, knownBefore);
  });

  it('are written, with a key that nothing else of the session shows', async () => {
    const session = await launched(scene, image, options);
    await write(session);
    expect(await read(session)).toEqual(WORDS);
    expect(filesBelow(scene.server.temporary).filter((name) => /id_|secret/.test(name))).toEqual([]);
    expect(scene.server.log() + await scene.client.getLog(session.id)).not.toContain('PRIVATE KEY');
    await scene.client.deleteSession(session.id);
    expect(wordsIn(image)).toBe(WORDS.toString());
  });

  it.each([
    ['is not known', () => rmSync(KNOWN_HOSTS)],
    ['has another key', () => know(makeSshKey(join(directory, 'other')))],
  ])('are refused when the host %s', async (_what, change) => {
    change();
    const session = await newSession(scene);
    await session.call('add_drive', { filename: image, ...options });
    expect((await failureOf(session.call('launch'))).details).toMatch(/host key/);
  });

  it('are refused with a key that the server does not take', async () => {
    makeSshKey(join(directory, 'stranger'));
    const session = await newSession(scene);
    await session.call('add_drive', { filename: image, ...options, secret: readFileSync(join(directory, 'stranger'), 'utf8') });
    expect((await failureOf(session.call('launch'))).details).toMatch(/ssh drive 'root@127.0.0.1:.*authentic/i);
  });
});

describe.each([
  ['cloned', []],
  ['booted', ['--launch', 'cold']],
  ['taken from the pool', ['--pool', '1']],
])('in a machine that is %s', (kind, flags) => {
  describeWithAppliance('drives from the network', () => {
    const scene = serverForTests({ flags: ['--allow', 'remote-drives', '--trace', '--log-level', 'debug', ...flags] });

    it('are written, over TCP and a socket, and read with a password', async () => {
      const images = ['a.img', 'b.img', 'c.img'].map((name) => emptyImage(join(scene.server.images, name), SIZE_MB)) as [string, string, string];
      chmodSync(scene.server.images, 0o755);
      const login = { user: 'ali', password: SECRET };
      const [first, second, web] = await Promise.all([
        running(nbdkit(images[0])),
        running(nbdkit(images[1], { socket: `${images[1]}.sock` })),
        running(nginx({ root: scene.server.images, directory: mkdtempSync(join(scene.server.images, 'nginx-')), login })),
      ]);
      if (flags.includes('--pool')) await eventually(() => scene.server.log().includes('the pool is full'));
      const session = await newSession(scene);
      const events = await scene.client.subscribe(session.id);
      for (const { address } of [first, second]) await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [address] } });
      await session.call('add_drive', { filename: '/c.img', protocol: 'http', server: { values: [web.address] }, username: login.user, secret: SECRET, readonly: true });
      await session.call('launch');
      await write(session);
      await session.call('pwrite_device', { device: '/dev/sdb', content: WORDS, offset: 4096n });
      expect(await session.call('is_zero_device', { device: '/dev/sdc' })).toBe(true);
      expect(scene.server.log().includes('taken from the pool')).toBe(kind === 'taken from the pool');

      const commands = scene.server.machines().map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
      const told = JSON.stringify(events.events, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
      expect([...commands, told, scene.server.log(), await scene.client.getLog(session.id)].join('\n')).not.toContain('sesame');
      expect(told).toContain('secret:***');
      expect(filesBelow(scene.server.temporary).filter((name) => /secret|sock$/.test(name) && !name.endsWith('fds'))).toEqual([]);
      events.cancel();
      await events.ended.catch(() => undefined);
      await scene.client.deleteSession(session.id);
      expect(images.slice(0, 2).map(wordsIn)).toEqual([WORDS.toString(), WORDS.toString()]);
    });
  });
});

describeWithAppliance('drives from the network, on a server that does not allow them', () => {
  const scene = serverForTests();

  it('are refused with the flag that allows them', async () => {
    const session = await newSession(scene);
    const failure = await failureOf(session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: ['localhost'] } }));
    expect(failure).toMatchObject({ code: status.PERMISSION_DENIED, info: { reason: 'NOT_ALLOWED', metadata: { setting: '--allow remote-drives' } } });
  });
});

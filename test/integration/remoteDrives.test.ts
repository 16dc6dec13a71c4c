/** Drives on servers on the network: real servers from a distribution. */
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { builtAppliance, describeWhen, describeWithAppliance } from '../support/appliance.js';
import { makeAuthority, makeCertificate, trust, type Certificate } from '../support/certificates.js';
import { emptyImage, run, sha256 } from '../support/diskImages.js';
import {
  freePort,
  ftpServer,
  iscsiServer,
  makeSshKey,
  nbdkit,
  nginx,
  qemuNbd,
  sshd,
  type DiskServer,
} from '../support/diskServers.js';
import { eventually } from '../support/eventually.js';
import { launchSession, serverForTests, type Scene } from '../support/scene.js';
import { failureOf, remoteDrive, scratchDrive, SessionClient } from '../support/testClient.js';

const SIZE_MB = 16;
/** With characters that are special to qemu's parsers. */
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

const newSession = async ({ client }: Scene): Promise<SessionClient> =>
  new SessionClient(client, (await client.createSession()).id);

async function launched(scene: Scene, filename: string, options: object): Promise<SessionClient> {
  const session = await newSession(scene);
  await session.call('add_drive', { filename, ...options });
  await session.call('launch');
  return session;
}

const write = (session: SessionClient): Promise<unknown> =>
  session.call('pwrite_device', { device: '/dev/sda', content: WORDS, offset: 4096n });
const read = (session: SessionClient): Promise<Buffer> =>
  session.call('pread_device', { device: '/dev/sda', count: WORDS.length, offset: 4096n });
const wordsIn = (image: string): string =>
  readFileSync(image)
    .subarray(4096, 4096 + WORDS.length)
    .toString();

function writeAt(image: string, bytes: Buffer, position: number): void {
  const file = openSync(image, 'r+');
  writeSync(file, bytes, 0, bytes.length, position);
  closeSync(file);
}

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

  it('can be named when a session is created, and are read-only unless they are to be written', async () => {
    const [first, second] = [newImage(), newImage()];
    const addresses = await Promise.all([first, second].map(async (image) => (await running(nbdkit(image))).address));
    const drives = addresses.map((address, index) =>
      remoteDrive(
        { protocol: 'nbd', server: [address] },
        { writable: index === 1, label: index === 1 ? 'second' : undefined },
      ),
    );
    const before = await sha256(first);
    const { id } = await scene.client.createSession({ drives, launch: true });
    const session = new SessionClient(scene.client, id);
    await write(session);
    await session.call('pwrite_device', { device: '/dev/disk/guestfs/second', content: WORDS, offset: 4096n });
    await scene.client.deleteSession(id);
    expect(await sha256(first)).toBe(before);
    expect(wordsIn(second)).toBe(WORDS.toString());
  });

  it('are not written when they are read-only', async () => {
    const image = newImage();
    const before = await sha256(image);
    const { address } = await running(nbdkit(image, { flags: ['--readonly'] }));
    const session = await launched(scene, '', {
      protocol: 'nbd',
      server: { values: [`tcp:${address}`] },
      readonly: true,
    });
    await write(session);
    expect(await read(session)).toEqual(WORDS);
    await scene.client.deleteSession(session.id);
    expect(await sha256(image)).toBe(before);
  });

  it('accept all options of drives', async () => {
    const image = newImage();
    const { address } = await running(qemuNbd(image, { flags: ['--discard=unmap'] }));
    const options = {
      protocol: 'nbd',
      server: { values: [address] },
      cachemode: 'unsafe',
      discard: 'enable',
      copyonread: true,
      blocksize: 4096,
      label: 'remote',
    };
    const session = await launched(scene, '', options);
    expect(await session.call('blockdev_getss', { device: '/dev/disk/guestfs/remote' })).toBe(4096);
    await write(session);
    await session.call('blkdiscard', { device: '/dev/sda' });
    expect(await session.call('is_zero_device', { device: '/dev/sda' })).toBe(true);
    await scene.client.deleteSession(session.id);
  });

  it('fail with the address if there is no server, and the session still works', async () => {
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
    expect((await failureOf(session.call('launch'))).details).toMatch(
      new RegExp(`127.0.0.1:${port}.*did not answer within`),
    );
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
    expect(
      await failureOf(session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [address] } })),
    ).toMatchObject({ info: { reason } });
  });

  it('are raw when they are written', async () => {
    const image = newImage();
    const { address } = await running(nbdkit(image));
    const session = await newSession(scene);
    await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [address] }, format: 'qcow2' });
    expect((await failureOf(session.call('launch'))).details).toMatch(
      /read-only.*qemu-nbd --persistent --format=qcow2/,
    );
  });
});

describeWithAppliance('drives over HTTP', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let image: string;
  let directory: string;

  beforeAll(() => {
    image = emptyImage(join(scene.server.images, 'a disk?.img'), SIZE_MB);
    writeAt(image, WORDS, 4096);
    directory = mkdtempSync(join(scene.server.images, 'nginx-'));
    // For whom nginx drops its rights to.
    chmodSync(scene.server.images, 0o755);
  });

  it('are read, and written in an overlay', async () => {
    const before = await sha256(image);
    const { address } = await running(nginx({ root: scene.server.images, directory }));
    const session = await launched(scene, '/a disk?.img', {
      protocol: 'http',
      server: { values: [address] },
      readonly: true,
    });
    expect(await read(session)).toEqual(WORDS);
    await session.call('zero_device', { device: '/dev/sda' });
    expect(await session.call('is_zero_device', { device: '/dev/sda' })).toBe(true);
    await scene.client.deleteSession(session.id);
    expect(await sha256(image)).toBe(before);
    expect(readFileSync(join(directory, 'access.log'), 'utf8')).toMatch(/"GET \/a%20disk%3F.img HTTP\/1.1" 206 /);
  });

  it('report a wrong password, without repeating it', async () => {
    const { address } = await running(
      nginx({ root: scene.server.images, directory, login: { user: 'ali', password: SECRET } }),
    );
    const session = await newSession(scene);
    await session.call('add_drive', {
      filename: '/a disk?.img',
      protocol: 'http',
      server: { values: [address] },
      username: 'ali',
      secret: 'guessed',
      readonly: true,
    });
    const { details } = await failureOf(session.call('launch'));
    expect(details).toContain(`http drive 'ali@${address}/a disk?.img'`);
    expect(details).toContain('401');
    expect(details).not.toContain('guessed');
  });

  it('can be read only', async () => {
    const session = await newSession(scene);
    expect(
      await failureOf(
        session.call('add_drive', { filename: '/x', protocol: 'http', server: { values: ['localhost'] } }),
      ),
    ).toMatchObject({ code: status.INVALID_ARGUMENT, info: { fields: ['readonly'] } });
  });
});

describeWithAppliance('drives that come to a session that runs', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let session: SessionClient;
  let image: string;

  beforeAll(async () => {
    image = emptyImage(join(scene.server.images, 'disk.img'), SIZE_MB);
    writeAt(image, WORDS, 4096);
    chmodSync(scene.server.images, 0o755);
    session = await launchSession(scene.client, [scratchDrive(1 << 20)]);
  });
  const add = (filename: string, options: object): Promise<unknown> =>
    session.call('add_drive', { filename, label: 'remote', ...options });
  const wordsRead = (): Promise<Buffer> =>
    session.call('pread_device', { device: '/dev/disk/guestfs/remote', count: WORDS.length, offset: 4096n });
  const refusalOf = async (filename: string, options: object): Promise<string> => {
    const failure = await failureOf(add(filename, options));
    expect(failure).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'IMAGE_UNUSABLE' } });
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    return failure.details;
  };

  it('are read over FTP, with the right password', async () => {
    const login = { user: 'ali', password: 'sesame' };
    const { address } = await running(ftpServer(scene.server.images, login));
    const options = { protocol: 'ftp', server: { values: [address] }, username: login.user, readonly: true };
    const refusal = await refusalOf('/disk.img', { ...options, secret: 'guessed' });
    expect(refusal).toMatch(/ftp drive 'ali@127.*\/disk.img' cannot be opened: .*denied/i);
    expect(refusal).not.toContain('guessed');
    await add('/disk.img', { ...options, secret: login.password });
    expect(await wordsRead()).toEqual(WORDS);
    await session.call('remove_drive', { label: 'remote' });
  });

  it('are written over iSCSI, with the right password', async () => {
    const login = { user: 'ali', password: 'sesame, "open"' };
    const written = emptyImage(join(scene.server.images, 'target.img'), SIZE_MB);
    const target = 'iqn.2003-01.org.example:disk';
    const { address } = await running(
      iscsiServer({ image: written, target, directory: mkdtempSync(join(scene.server.images, 'tgtd-')), login }),
    );
    const options = { protocol: 'iscsi', server: { values: [address] }, username: login.user };
    const refusal = await refusalOf(`${target}/1`, { ...options, secret: 'guessed' });
    expect(refusal).toMatch(/iscsi drive 'ali@127.*\/iqn.2003-01.org.example:disk\/1' cannot be opened: .*auth/i);
    expect(refusal).not.toContain('guessed');
    expect(await refusalOf(`${target}/7`, { ...options, secret: login.password })).toContain('cannot be opened');
    await add(`${target}/1`, { ...options, secret: login.password, discard: 'besteffort' });
    await session.call('pwrite_device', { device: '/dev/disk/guestfs/remote', content: WORDS, offset: 4096n });
    expect(await wordsRead()).toEqual(WORDS);
    await session.call('remove_drive', { label: 'remote' });
    expect(wordsIn(written)).toBe(WORDS.toString());
    expect(scene.server.log() + (await scene.client.getLog(session.id))).not.toMatch(/sesame|guessed/);
  });

  describeWhen('and are read over HTTPS', process.geteuid?.() === 0 ? undefined : 'it takes root', () => {
    let directory: string;
    const trusted: string[] = [];
    const serve = async ({ key, certificate }: Certificate): Promise<object> => {
      const { address } = await running(nginx({ root: scene.server.images, directory, tls: { key, certificate } }));
      return { protocol: 'https', server: { values: [address] }, readonly: true };
    };

    beforeAll(() => {
      directory = mkdtempSync(join(scene.server.images, 'nginx-'));
    });
    afterEach(() => trusted.splice(0).forEach((path) => rmSync(path)));

    it('are accepted from a server whose certificate this host trusts', async () => {
      const authority = makeAuthority(directory);
      const certificate = makeCertificate(directory, authority, 'IP:127.0.0.1');
      const options = await serve(certificate);
      expect(await refusalOf('/disk.img', options)).toMatch(/https drive '127.*certificate/i);
      trusted.push(trust(authority));
      await add('/disk.img', options);
      expect(await wordsRead()).toEqual(WORDS);
      await session.call('remove_drive', { label: 'remote' });
    });

    it('are refused from one with a self-signed certificate, or with another name', async () => {
      const authority = makeAuthority(directory);
      expect(await refusalOf('/disk.img', await serve(authority))).toMatch(/certificate/i);
      trusted.push(trust(authority));
      expect(
        await refusalOf('/disk.img', await serve(makeCertificate(directory, authority, 'DNS:elsewhere.example'))),
      ).toMatch(/certificate/i);
    });
  });
});

/** The known hosts of all users of this machine. */
const KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts';

/** Only root can add a known host, or start an SSH server that other users can log in to. */
const whyNoSsh =
  process.geteuid?.() !== 0
    ? 'it takes root'
    : builtAppliance('trixie') === undefined
      ? 'there is no appliance: npm run appliance'
      : undefined;

describeWhen('drives over SSH', whyNoSsh, () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let image: string;
  let directory: string;
  let port: number;
  let knownBefore: string | undefined;
  let options: Record<string, unknown>;
  let key: string;

  const know = (hostKey: string): void =>
    writeFileSync(KNOWN_HOSTS, `${knownBefore ?? ''}[127.0.0.1]:${port} ${hostKey}\n`);

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

  it('are written, with a key that appears nowhere else in the session', async () => {
    const session = await launched(scene, image, options);
    await write(session);
    expect(await read(session)).toEqual(WORDS);
    expect(filesBelow(scene.server.temporary).filter((name) => /id_|secret/.test(name))).toEqual([]);
    expect(scene.server.log() + (await scene.client.getLog(session.id))).not.toContain('PRIVATE KEY');
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

  it('are refused with a key that the server does not accept', async () => {
    makeSshKey(join(directory, 'stranger'));
    const session = await newSession(scene);
    await session.call('add_drive', {
      filename: image,
      ...options,
      secret: readFileSync(join(directory, 'stranger'), 'utf8'),
    });
    expect((await failureOf(session.call('launch'))).details).toMatch(/ssh drive 'root@127.0.0.1:.*authentic/i);
  });
});

describe.each([
  ['cloned', []],
  ['booted', ['--launch', 'cold']],
  ['took a clone from the pool', ['--pool', '1']],
])('in a machine that is %s', (kind, flags) => {
  describeWithAppliance('drives from the network', () => {
    const scene = serverForTests({ flags: ['--allow', 'remote-drives', '--trace', '--log-level', 'debug', ...flags] });

    it('are written, over TCP and a socket, and read with a password, raw and in a format', async () => {
      const images = ['a.img', 'b.img', 'c.img'].map((name) =>
        emptyImage(join(scene.server.images, name), SIZE_MB),
      ) as [string, string, string];
      chmodSync(scene.server.images, 0o755);
      const login = { user: 'ali', password: SECRET };
      const [first, second, web] = await Promise.all([
        running(nbdkit(images[0])),
        running(nbdkit(images[1], { socket: `${images[1]}.sock` })),
        running(
          nginx({ root: scene.server.images, directory: mkdtempSync(join(scene.server.images, 'nginx-')), login }),
        ),
      ]);
      if (flags.includes('--pool')) await eventually(() => scene.server.log().includes('the clone pool is full'));
      run(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        'qcow2',
        emptyImage(join(scene.server.images, 'd.img'), SIZE_MB * 2),
        join(scene.server.images, 'd.qcow2'),
      );
      const session = await newSession(scene);
      const events = await scene.client.subscribe(session.id);
      for (const { address } of [first, second])
        await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [address] } });
      await session.call('add_drive', {
        filename: '/c.img',
        protocol: 'http',
        server: { values: [web.address] },
        username: login.user,
        secret: SECRET,
        readonly: true,
      });
      await session.call('add_drive', {
        filename: '/d.qcow2',
        protocol: 'http',
        server: { values: [web.address] },
        username: login.user,
        secret: SECRET,
        readonly: true,
        format: 'qcow2',
      });
      await session.call('launch');
      await write(session);
      await session.call('pwrite_device', { device: '/dev/sdb', content: WORDS, offset: 4096n });
      for (const [device, mebibytes] of [
        ['/dev/sdc', SIZE_MB],
        ['/dev/sdd', SIZE_MB * 2],
      ] as const) {
        expect(await session.call('is_zero_device', { device })).toBe(true);
        expect(await session.call('blockdev_getsize64', { device })).toBe(BigInt(mebibytes << 20));
      }
      expect(scene.server.log().includes('took a clone from the pool')).toBe(kind === 'took a clone from the pool');

      const commands = scene.server.machines().map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
      const told = JSON.stringify(events.events, (_key, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      );
      expect([...commands, told, scene.server.log(), await scene.client.getLog(session.id)].join('\n')).not.toContain(
        'sesame',
      );
      expect(told).toContain('secret:***');
      expect(filesBelow(scene.server.temporary).filter((name) => /secret|sock$/.test(name))).toEqual([]);
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
    const failure = await failureOf(
      session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: ['localhost'] } }),
    );
    const whole = await failureOf(
      scene.client.createSession({
        drives: [
          remoteDrive({ protocol: 'http', server: ['localhost'], filename: '/x', username: 'u', secret: 'hidden' }),
        ],
      }),
    );
    for (const one of [failure, whole])
      expect(one).toMatchObject({
        code: status.PERMISSION_DENIED,
        info: { reason: 'NOT_ALLOWED', metadata: { setting: '--allow remote-drives' } },
      });
    expect(whole.details).not.toContain('hidden');
    expect(scene.server.log()).not.toContain('hidden');
  });
});

/**
 * Drives over protocols whose servers are too large to be tested with: qemu takes what it is told
 * of them, and goes to the server that they name. What is wrong then is the server.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { status } from '@grpc/grpc-js';
import { afterEach, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { freePort } from '../support/diskServers.js';
import { serverForTests } from '../support/scene.js';
import { failureOf, SessionClient } from '../support/testClient.js';

/** A key of Ceph's: its kind, when it was made, and 16 bytes with their number. */
const CEPH_KEY = Buffer.concat([
  Buffer.from([1, 0]),
  Buffer.alloc(8),
  Buffer.from([16, 0]),
  Buffer.alloc(16, 'k'),
]).toString('base64');

/** What has to arrive within the time limit. */
const PATIENCE_MS = 15_000;

/** A server that closes every connection, and records its first bytes. */
interface Impostor {
  readonly port: number;
  /** Resolves when a client has connected; with its first data, if it sends any. */
  readonly called: Promise<Buffer>;
}

const open: Server[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function impostor(greeting: string): Promise<Impostor> {
  let tell: (received: Buffer) => void = () => undefined;
  const called = new Promise<Buffer>((resolve) => {
    tell = resolve;
  });
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (greeting !== '') socket.write(greeting);
    socket.once('data', (received: Buffer) => {
      tell(received);
      socket.destroy();
    });
  });
  open.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, called };
}

interface Protocol {
  readonly protocol: string;
  readonly options: object;
  readonly filename: string;
  /** The first message of a server. */
  readonly greeting: string;
  /** The first bytes of a client of the protocol; Ceph tries two variants. */
  readonly begins: RegExp;
}

const PROTOCOLS: readonly Protocol[] = [
  {
    protocol: 'iscsi',
    filename: 'iqn.2003-01.org.example:disk/3',
    options: {},
    greeting: '',
    begins: /TargetName=iqn\.2003-01\.org\.example:disk/,
  },
  {
    protocol: 'iscsi',
    filename: 'iqn.2003-01.org.example:disk',
    options: { username: 'ali', secret: 'open sesame 12' },
    greeting: '',
    begins: /AuthMethod=CHAP/,
  },
  {
    protocol: 'ftp',
    filename: '/disk.img',
    options: { username: 'ali', secret: 'open, sesame', readonly: true },
    greeting: '220 who is there?\r\n',
    begins: /^USER ali\r\n/,
  },
  { protocol: 'ftps', filename: '/disk.img', options: { readonly: true }, greeting: '', begins: /^\x16\x03/ },
  {
    protocol: 'https',
    filename: '/disk.img',
    options: { username: 'ali', secret: 'open, sesame', readonly: true },
    greeting: '',
    begins: /^\x16\x03/,
  },
  { protocol: 'rbd', filename: 'pool/image', options: {}, greeting: 'ceph v2\n', begins: /^ceph v/ },
  {
    protocol: 'rbd',
    filename: 'pool/namespace/image@snapshot',
    options: { username: 'ali', secret: CEPH_KEY },
    greeting: 'ceph v2\n',
    begins: /^ceph v/,
  },
  { protocol: 'gluster', filename: 'volume/a/disk.img', options: {}, greeting: '', begins: /volume/ },
];

describeWithAppliance('drives of other protocols', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });

  const newSession = async (): Promise<SessionClient> =>
    new SessionClient(scene.client, (await scene.client.createSession()).id);
  const add = async ({ protocol, filename, options }: Protocol, port: number): Promise<SessionClient> => {
    const session = await newSession();
    await session.call('add_drive', { filename, protocol, server: { values: [`127.0.0.1:${port}`] }, ...options });
    return session;
  };

  it.each(PROTOCOLS.map((one) => [`${one.protocol} ${one.filename}`, one] as const))(
    'are asked for at their server, in its language: %s',
    async (_what, one) => {
      const { port, called } = await impostor(one.greeting);
      const session = await add(one, port);
      const launch = failureOf(session.call('launch', {}, { deadline: Date.now() + PATIENCE_MS }));
      const received = await Promise.race([called, launch.then((failure) => failure)]);
      expect(Buffer.isBuffer(received) ? received.toString('latin1') : received).toMatch(one.begins);
      await scene.client.deleteSession(session.id);
      await launch;
    },
  );

  it.each(
    PROTOCOLS.filter(({ protocol }) => protocol !== 'rbd').map(
      (one) => [`${one.protocol} ${one.filename}`, one] as const,
    ),
  )('fail as the connection does when nobody is there: %s', async (_what, one) => {
    const port = await freePort();
    const session = await add(one, port);
    const failure = await session.failure('launch', {}, { deadline: Date.now() + PATIENCE_MS });
    expect(failure).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'IMAGE_UNUSABLE' } });
    expect(failure.details).toContain(`127.0.0.1:${port}`);
    // qemu's messages for an unknown or invalid option.
    expect(failure.details).not.toMatch(/parameter|unexpected|invalid|does not accept|no driver|unknown/i);
    expect(failure.details).not.toContain('sesame');
    await scene.client.deleteSession(session.id);
  });
});

/** Uploads to the complete server that are cut anywhere and in any way: none counts as complete. */
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { UploadRequest } from '../../../gen/proto/guestfs/v1/transfer.js';
import { cut, pattern } from '../../fakes/files.js';
import { seeded } from '../../fakes/random.js';
import { ReplicaSet } from '../../fakes/replicas.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';
import { listen } from '../../fakes/sessions.js';
import { frameRelay } from '../../support/frameRelay.js';
import { lateResetProxy } from '../../support/lateResetProxy.js';
import { failureOf, SessionClient, TestClient } from '../../support/testClient.js';

jest.setTimeout(60_000);

const CUTS = 200;
const FILE = pattern(30_000);
const CHUNK = 4096;

function message(request: UploadRequest): Buffer {
  const bytes = UploadRequest.encode(request).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** The messages of an upload of {@link FILE}. */
function uploadMessages(exact_size?: bigint): Buffer[] {
  const value = { remotefilename: '/file', exact_size };
  return [
    message({ payload: { $case: 'arguments', value } }),
    ...cut(FILE, CHUNK).map((chunk) => message({ payload: { $case: 'chunk', value: chunk } })),
  ];
}

interface Connection {
  readonly session: ClientHttp2Session;
  readonly socket: Socket;
}

function connectTo(address: string): Connection {
  const [host = '', port = ''] = address.split(':');
  const socket = connectSocket(Number(port), host);
  const session = connect(`http://${address}`, { createConnection: () => socket });
  session.on('error', () => undefined);
  return { session, socket };
}

function open({ session }: Connection): ClientHttp2Stream {
  const stream = session.request(
    {
      ':method': 'POST',
      ':path': '/guestfs.v1.TransferService/Upload',
      'content-type': 'application/grpc',
      te: 'trailers',
      'guestfs-session': sessionId,
    },
    { endStream: false },
  );
  stream.on('error', () => undefined);
  return stream;
}

/** Resolves when the stream has ended, with the status that the client received, if any. */
async function statusOf(stream: ClientHttp2Stream): Promise<string | undefined> {
  let seen: string | undefined;
  const note = (headers: Record<string, unknown>): void => {
    seen = (headers['grpc-status'] as string | undefined) ?? seen;
  };
  stream.on('response', note);
  stream.on('trailers', note);
  stream.resume();
  await new Promise((resolve) => stream.once('close', resolve));
  return seen;
}

type GiveUp = (stream: ClientHttp2Stream, connection: Connection) => void;

const WAYS: Readonly<Record<string, GiveUp>> = {
  'ends and resets the stream': (stream) => stream.close(constants.NGHTTP2_CANCEL),
  'resets the stream': (stream) => stream.destroy(),
  'ends the stream': (stream) => stream.end(),
  'closes the connection': (_stream, { session }) => session.destroy(),
  'loses the connection': (_stream, { socket }) => socket.resetAndDestroy(),
};

let set: ReplicaSet;
let served: ServedSession;
let sessionId = '';
beforeAll(async () => {
  set = new ReplicaSet();
  const replicas = await set.member({ id: 'far' });
  served = await servedSession({ replicas });
  set.list(served.server.address);
  sessionId = replicas.idOf('test', undefined);
});
afterAll(async () => {
  await served.stop();
  await set.stop();
});

/** Routes to the server; each returns its address, and a function that ends it. */
type Route = () => Promise<{ readonly address: string; close(): Promise<void> }>;
const ROUTES: readonly [string, Route][] = [
  ['directly', async () => ({ address: served.server.address, close: async () => undefined })],
  [
    'through another replica',
    async () => {
      const { address, stop } = await set.start({ id: 'near' });
      return { address, close: stop };
    },
  ],
  ['through a relay that passes on frame by frame', () => frameRelay(served.server.address, 'apart', 1)],
  [
    'through an HTTP/2 proxy that passes resets on late',
    () => lateResetProxy(served.server.address, { delayMs: 15, endsWhatIsLost: false }),
  ],
  [
    'through an HTTP/2 proxy that ends the streams of lost clients, and resets them late',
    () => lateResetProxy(served.server.address, { delayMs: 15, endsWhatIsLost: true }),
  ],
];

describe.each(ROUTES)('an upload %s', (_how, route) => {
  let way: Awaited<ReturnType<Route>>;
  beforeAll(async () => {
    way = await route();
  });
  afterAll(() => way.close());

  it('that is complete is answered with OK', async () => {
    served.uploads.length = 0;
    const connection = connectTo(way.address);
    const stream = open(connection);
    stream.end(Buffer.concat(uploadMessages(BigInt(FILE.length))));
    expect(await statusOf(stream)).toBe(String(status.OK));
    expect(served.uploads).toEqual([{ data: FILE, cancelled: false, progressHint: BigInt(FILE.length) }]);
    connection.session.destroy();
  });

  it.each([
    ['without a size, inside a message', undefined],
    ['with its size, anywhere', BigInt(FILE.length)],
  ])(`cut at ${CUTS} random bytes, %s, never counts as complete`, async (_what, exactSize) => {
    served.uploads.length = 0;
    const random = seeded(exactSize === undefined ? 41 : 42);
    const messages = uploadMessages(exactSize);
    const bytes = Buffer.concat(messages);
    let end = 0;
    const boundaries = new Set([0, ...messages.map((one) => (end += one.length))]);
    const { events } = listen(served.session, ['finished']);
    const names = Object.keys(WAYS);
    const outcomes: [number, string, string | undefined][] = [];
    const first = messages[0]?.length ?? 0;
    let waitedFor = 0;
    for (let round = 0; round < CUTS; round += 1) {
      let at = random(bytes.length);
      // Every tenth cut is between two messages, where only the size reveals it.
      if (exactSize !== undefined && round % 10 === 0) at = [...boundaries][random(boundaries.size - 1)] ?? 0;
      while (exactSize === undefined && boundaries.has(at)) at = random(bytes.length);
      const name = names[random(names.length)] ?? '';
      const connection = connectTo(way.address);
      const stream = open(connection);
      const seen = statusOf(stream);
      // In every second round, only once the daemon is processing it.
      const wait = round % 2 === 0 && at >= first;
      const taken = wait ? served.nextUpload() : delay(random(12));
      await new Promise((resolve) => stream.write(bytes.subarray(0, at), resolve));
      await taken;
      if (wait) waitedFor += 1;
      WAYS[name]?.(stream, connection);
      outcomes.push([at, name, await seen]);
      connection.session.destroy();
    }
    expect(outcomes.filter(([, , seen]) => seen === String(status.OK))).toEqual([]);

    // The session works, and its daemon has considered only this file complete.
    const client = new TestClient(served.server.address);
    await new SessionClient(client, 'test').upload('upload', { remotefilename: '/after' }, cut(FILE));
    client.close();
    expect(served.session.pendingCalls).toBe(0);
    expect(served.uploads.filter(({ cancelled }) => !cancelled).map(({ data }) => data)).toEqual([FILE]);
    expect(waitedFor).toBeGreaterThan(CUTS / 4);
    expect(served.uploads.length).toBeGreaterThan(waitedFor);
    expect(events.filter((event) => !event.includes(': '))).toHaveLength(1);
  });
});

describe('an upload that is cancelled between two messages', () => {
  it.each([
    ['without a size ends CANCELLED if the reset comes before the answer', undefined, 'CANCELLED', false],
    ['with its size is cancelled in any case', BigInt(FILE.length), 'CHECKSUM_MISMATCH', true],
  ])('through a proxy that is late, %s', async (_what, exactSize, reason, cancelled) => {
    served.uploads.length = 0;
    served.beforeAnswer = () => delay(200);
    const proxy = await lateResetProxy(served.server.address, { delayMs: 50, endsWhatIsLost: false });
    const { events } = listen(served.session, ['finished']);
    const connection = connectTo(proxy.address);
    const stream = open(connection);
    stream.write(Buffer.concat(uploadMessages(exactSize).slice(0, 3)));
    await delay(50);
    stream.close(constants.NGHTTP2_CANCEL);
    const deadline = Date.now() + 5000;
    while (events.length === 0 && Date.now() < deadline) await delay(10);
    expect(events).toEqual([expect.stringMatching(new RegExp(`^finished upload \\d+: ${reason}$`))]);
    expect(served.uploads).toMatchObject([{ cancelled }]);
    served.beforeAnswer = async () => undefined;
    connection.session.destroy();
    await proxy.close();
  });
});

describe('what a client states about its upload', () => {
  let client: TestClient;
  let session: SessionClient;
  beforeAll(() => {
    client = new TestClient(served.server.address);
    session = new SessionClient(client, 'test');
  });
  afterAll(() => client.close());

  it('is compared before the final chunk is sent to the daemon', async () => {
    served.uploads.length = 0;
    const failure = await failureOf(session.upload('upload', { remotefilename: '/x', crc32c: 1 }, [FILE]));
    expect(failure).toMatchObject({
      code: status.DATA_LOSS,
      details: expect.stringMatching(/^crc32c: 00000001 was expected, [0-9a-f]{8} was received$/),
      info: {
        reason: 'CHECKSUM_MISMATCH',
        metadata: { check: 'crc32c', expected: '00000001', received: expect.stringMatching(/^[0-9a-f]{8}$/) },
      },
    });
    expect(served.uploads).toMatchObject([{ data: FILE, cancelled: true }]);
  });

  it('ends the upload as soon as it is longer, although the client would continue', async () => {
    served.uploads.length = 0;
    async function* silent(): AsyncGenerator<Buffer> {
      yield FILE;
      await new Promise(() => undefined);
    }
    const failure = await failureOf(session.upload('upload', { remotefilename: '/x', exact_size: 5n }, silent()));
    expect(failure).toMatchObject({
      code: status.DATA_LOSS,
      info: { metadata: { check: 'exact_size', expected: '5', received: String(FILE.length) } },
    });
    expect(served.uploads).toMatchObject([{ data: Buffer.alloc(0), cancelled: true }]);
  });

  it.each([
    ['exact_size', { exact_size: -1n }],
    ['sha256', { sha256: Buffer.alloc(20) }],
  ])('is refused before anything is sent to the daemon, if %s is malformed', async (field, stated) => {
    served.uploads.length = 0;
    const failure = await failureOf(session.upload('upload', { remotefilename: '/x', ...stated }, [FILE]));
    expect(failure).toMatchObject({ code: status.INVALID_ARGUMENT, info: { reason: 'BAD_ARGUMENT', fields: [field] } });
    await session.upload('upload', { remotefilename: '/x' }, [FILE]);
    expect(served.uploads).toHaveLength(1);
  });
});

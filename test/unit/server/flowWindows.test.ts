/** Uploads are fast at a distance, and clients cannot fill the server's memory with what it does not read. */
import { EventEmitter, once } from 'node:events';
import { connect, type ClientHttp2Session, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { TransferServiceService, UploadRequest } from '../../../gen/proto/guestfs/v1/transfer.js';
import type { GuestfsError } from '../../../src/common/errors.js';
import { FlowWindows, NARROW, WIDE } from '../../../src/server/flowWindows.js';
import { pattern } from '../../fakes/files.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';
import { distantRelay, type DistantRelay } from '../../support/distantRelay.js';
import { eventually } from '../../support/eventually.js';
import { SessionClient, TestClient } from '../../support/testClient.js';

jest.setTimeout(60_000);
const MIB = 1 << 20;
const DELAY_MS = 20;

describe('at a distance', () => {
  let served: ServedSession;
  let relay: DistantRelay;
  let client: TestClient;

  beforeEach(async () => {
    served = await servedSession();
    relay = await distantRelay(served.server.address, DELAY_MS);
    client = new TestClient(relay.address);
  });
  afterEach(async () => {
    client.close();
    await relay.close();
    await served.stop();
  });

  it('an upload has more on its way than the default window', async () => {
    const file = pattern(16 * MIB);
    await new SessionClient(client, 'test').upload('upload', { remotefilename: '/file' }, [file]);
    expect(served.uploads[0]?.data.equals(file)).toBe(true);
    expect(relay.most).toBeGreaterThan(MIB);
    // The window is the limit, whatever the client has.
    expect(relay.most).toBeLessThan(3 * WIDE);
  });
});

describe('the windows of a connection', () => {
  let served: ServedSession;
  let session: ClientHttp2Session;

  const message = (request: UploadRequest): Buffer => {
    const bytes = UploadRequest.encode(request).finish();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([head, bytes]);
  };
  const upload = (name: string): ReturnType<ClientHttp2Session['request']> => {
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': TransferServiceService.upload.path,
        'content-type': 'application/grpc',
        te: 'trailers',
        'guestfs-session': name,
      },
      { endStream: false },
    );
    stream.on('error', () => undefined);
    stream.write(message({ payload: { $case: 'arguments', value: { remotefilename: '/file' } } }));
    return stream;
  };
  const chunk = (bytes: number): Buffer => message({ payload: { $case: 'chunk', value: Buffer.alloc(bytes) } });

  beforeEach(async () => {
    served = await servedSession();
    session = connect(`http://${served.server.address}`);
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
  });
  afterEach(async () => {
    session.destroy();
    await served.stop();
  });

  it('are the default ones until a call that was admitted reads a large request', async () => {
    expect(session.remoteSettings.initialWindowSize ?? NARROW).toBe(NARROW);
    const refused = upload('no-such-session');
    for (let count = 0; count < 8; count += 1) refused.write(chunk(MIB / 4));
    const accepted = upload('test');
    for (let count = 0; count < 3; count += 1) accepted.write(chunk(10_000));
    await once(refused, 'response');
    expect(session.remoteSettings.initialWindowSize ?? NARROW).toBe(NARROW);
    for (let count = 0; count < 3; count += 1) accepted.write(chunk(10_000));
    await eventually(() => session.remoteSettings.initialWindowSize === WIDE);
  });

  it('become smaller the more streams there are, and the default ones when nothing large is left', async () => {
    const first = upload('test');
    for (let count = 0; count < 8; count += 1) first.write(chunk(20_000));
    await eventually(() => session.remoteSettings.initialWindowSize === WIDE);
    const others = Array.from({ length: 63 }, () => upload('test'));
    await eventually(() => session.remoteSettings.initialWindowSize === MIB);
    for (const stream of [first, ...others]) stream.close();
    await eventually(() => session.remoteSettings.initialWindowSize === NARROW);
  });
});

/** A stream of which a number of bytes has not been read. */
function unreadStream(session: Http2Session, readableLength: number): ServerHttp2Stream {
  return Object.assign(new EventEmitter(), { session, readableLength, destroyed: false }) as never;
}

function fakeConnection(): Http2Session {
  return Object.assign(new EventEmitter(), { setLocalWindowSize: () => undefined, settings: () => undefined }) as never;
}

describe('the windows of all clients', () => {
  it('are not smaller because another client has many connections with many streams', () => {
    const windows = new FlowWindows();
    const told = new Map<Http2Session, number>();
    const upload = (session: Http2Session, client: string, streams: number): ServerHttp2Stream[] => {
      const own = Array.from({ length: streams }, () => unreadStream(session, 0));
      for (const stream of own) windows.opened(stream, () => undefined);
      windows.isLarge(own[0]!, client);
      return own;
    };
    const connect = (): Http2Session => {
      const session = fakeConnection();
      session.settings = ({ initialWindowSize }) => void told.set(session, initialWindowSize ?? 0);
      return session;
    };
    const one = connect();
    upload(one, 'one', 1);
    const others = Array.from({ length: 20 }, connect);
    for (const session of others) upload(session, 'other', 100);
    expect(told.get(one)).toBe(WIDE);
    const last = told.get(others.at(-1)!) ?? 0;
    expect(last * 20 * 100).toBeLessThanOrEqual(256 * MIB);
    for (const session of [one, ...others]) session.emit('close');
  });
});

describe('a client that fills windows faster than it learns that they are smaller', () => {
  it('has its largest calls refused, once that is several times what it may', async () => {
    const windows = new FlowWindows();
    const session = fakeConnection();
    const refused = new Map<number, GuestfsError>();
    const streams = [60, 50, 40, 30].map((size) => unreadStream(session, size * MIB));
    const open = (stream: ServerHttp2Stream): void =>
      windows.opened(stream, (error) => void refused.set(stream.readableLength / MIB, error));
    const [first, second, ...rest] = streams as [ServerHttp2Stream, ServerHttp2Stream, ...ServerHttp2Stream[]];
    open(first);
    open(second);
    windows.isLarge(second, 'one');
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(refused.size).toBe(0);
    for (const stream of rest) open(stream);
    await eventually(() => refused.size > 0);
    expect([...refused.keys()].sort()).toEqual([40, 50, 60]);
    expect(refused.get(60)).toMatchObject({ reason: 'LIMIT_EXCEEDED' });
    for (const stream of streams) windows.closed(stream, session);
    session.emit('close');
  });
});

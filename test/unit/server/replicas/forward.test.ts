/** Calls of every kind through a replica that does not have the session: as if the client had called the other one. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { credentials, status, type StatusObject } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { download, upload } from '../../../../gen/calls/transfer.js';
import { EventType } from '../../../../gen/proto/guestfs/v1/event.js';
import { SessionServiceClient } from '../../../../gen/proto/guestfs/v1/session.js';
import { TransferServiceClient, type DownloadResponse } from '../../../../gen/proto/guestfs/v1/transfer.js';
import type { FakeMachine } from '../../../fakes/fakeLauncher.js';
import { FakeMachine as Machine } from '../../../fakes/fakeLauncher.js';
import { pattern } from '../../../fakes/files.js';
import { ReplicaSet, type Replica } from '../../../fakes/replicas.js';
import { servedSession, type ServedSession } from '../../../fakes/servedSession.js';
import { eventually } from '../../../support/eventually.js';
import { rawUnary } from '../../../support/rawCalls.js';
import {
  argumentsOf,
  failureOf,
  scratchDrive,
  SessionClient,
  sessionMetadata,
  TestClient,
} from '../../../support/testClient.js';

const LIMIT_MS = 60_000;
jest.setTimeout(LIMIT_MS);

const MEBIBYTE = 1 << 20;
/** More than all buffers on the way hold, and much less than what is sent. */
const IN_BETWEEN = 12 * MEBIBYTE;

let set: ReplicaSet;
beforeAll(() => {
  set = new ReplicaSet();
});
afterAll(() => set.stop(), LIMIT_MS);

describe('a file', () => {
  let served: ServedSession;
  let near: Replica;
  let id: string;
  beforeAll(async () => {
    const replicas = await set.member({ id: 'far' });
    served = await servedSession({ replicas });
    set.list(served.server.address);
    near = await set.start({ id: 'near' });
    id = replicas.idOf('test', undefined);
  }, LIMIT_MS);
  afterAll(() => served.stop());

  it('arrives as it is, whatever its size', async () => {
    const session = new SessionClient(near.client, id);
    for (const size of [0, 1, 300_000, 5 * MEBIBYTE]) {
      const file = pattern(size);
      await session.upload('upload', { remotefilename: '/file', exact_size: BigInt(size) }, [file]);
      expect(served.uploads.at(-1)).toMatchObject({ cancelled: false });
      expect(served.uploads.at(-1)?.data.equals(file)).toBe(true);
      served.file = file;
      expect((await session.download('download', { remotefilename: '/file' })).equals(file)).toBe(true);
    }
  });

  it('that differs from what its client stated is refused in the same words', async () => {
    const failing = async (client: TestClient): Promise<unknown> => {
      const session = new SessionClient(client, id);
      const sent = session.upload('upload', { remotefilename: '/file', exact_size: 5n }, [Buffer.from('four')]);
      const { code, details, info } = await failureOf(sent);
      return { code, details, info };
    };
    const direct = new TestClient(served.server.address);
    const [one, other] = [await failing(direct), await failing(near.client)];
    direct.close();
    expect(other).toMatchObject({ code: status.DATA_LOSS, info: { reason: 'CHECKSUM_MISMATCH' } });
    expect(other).toEqual(one);
  });

  it('comes with its trailers', async () => {
    served.file = pattern(300_000);
    const client = new TransferServiceClient(near.address, credentials.createInsecure());
    const metadata = sessionMetadata(id);
    metadata.set('guestfs-checksum', 'sha256');
    const stream = client.download({ remotefilename: '/file' }, metadata);
    const chunks: Buffer[] = [];
    stream.on('data', ({ chunk }: DownloadResponse) => chunks.push(chunk));
    const end = await new Promise<StatusObject>((resolve) => stream.once('status', resolve));
    client.close();
    expect(Buffer.concat(chunks).equals(served.file)).toBe(true);
    expect(end.metadata.getMap()).toMatchObject({
      'guestfs-size': '300000',
      'guestfs-sha256': createHash('sha256').update(served.file).digest('hex'),
    });
  });

  it('whose client gives up is not complete', async () => {
    const { stream, done } = new SessionClient(near.client, id).openUpload('upload');
    const accepted = served.nextUpload();
    stream.write(argumentsOf('upload', { remotefilename: '/file' }));
    stream.write({ payload: { $case: 'chunk', value: pattern(100_000) } });
    await accepted;
    stream.cancel();
    await expect(done).rejects.toMatchObject({ code: status.CANCELLED });
    await eventually(() => served.uploads.at(-1)?.cancelled === true);
  });
});

describe('a call', () => {
  let far: Replica;
  let near: Replica;
  let id: string;
  let session: SessionClient;
  let launches = 0;
  beforeAll(async () => {
    far = await set.start({ id: 'far' });
    near = await set.start({ id: 'near' });
  }, LIMIT_MS);
  beforeEach(async () => {
    id = (await far.client.createSession({ drives: [scratchDrive(MEBIBYTE)] })).id;
    session = new SessionClient(near.client, id);
  });

  async function launch(): Promise<FakeMachine> {
    const machine = new Machine('1.61.9');
    const ready = session.call('launch');
    (await far.launcher.request(launches++)).succeed(machine);
    await machine.daemon.launch();
    await ready;
    return machine;
  }

  it('does not report the load of the other replica as that of this one', async () => {
    const trailers = (replica: Replica, session: string): Promise<readonly string[]> => {
      const client = new SessionServiceClient(replica.address, credentials.createInsecure());
      return new Promise((resolve) => {
        client
          .deleteSession({ id: session, force: false }, () => client.close())
          .once('status', ({ metadata }: StatusObject) => resolve(Object.keys(metadata.getMap())));
      });
    };
    expect(await trailers(near, id)).not.toContain('endpoint-load-metrics-bin');
    const { id: direct } = await far.client.createSession();
    expect(await trailers(far, direct)).toContain('endpoint-load-metrics-bin');
  });

  it('fails with the status, the text and the details of the replica that has the session', async () => {
    const direct = new SessionClient(far.client, id);
    for (const [action, request] of [
      ['ls', { directory: '/' }],
      ['set_memsize', { memsize: -5 }],
      ['copy_out', { remotepath: '/x', localdir: '/y' }],
      ['add_drive', { filename: '/not/there' }],
    ] as const) {
      const [one, other] = [await direct.failure(action, request), await session.failure(action, request)];
      expect([other.code, other.details, other.info]).toEqual([one.code, one.details, one.info]);
    }
    const undecodable = (client: TestClient): Promise<unknown> =>
      rawUnary(client, '/guestfs.v1.PropertyService/SetMemsize', Buffer.from([0xff]), sessionMetadata(id)).then(
        () => undefined,
        ({ code, details }: StatusObject) => ({ code, details }),
      );
    expect(await undecodable(near.client)).toEqual(await undecodable(far.client));
    expect(await undecodable(near.client)).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  it.each([
    ['whose deadline passes', { deadline: true }, status.DEADLINE_EXCEEDED],
    ['that its client cancels', { deadline: false }, status.CANCELLED],
  ])('%s ends there, too', async (_what, { deadline }, code) => {
    const controller = new AbortController();
    const launching = session.failure(
      'launch',
      {},
      deadline ? { deadline: Date.now() + 1500 } : { signal: controller.signal },
    );
    const request = await far.launcher.request(launches++);
    expect(request.options.signal.aborted).toBe(false);
    controller.abort();
    expect((await launching).code).toBe(code);
    await eventually(() => request.options.signal.aborted);
    request.fail(new Error('aborted'));
  });

  it('can subscribe to events, and end that', async () => {
    const subscription = await near.client.subscribe(id, [EventType.STARTED]);
    const machine = await launch();
    const listing = session.call('mkdir', { path: '/x' });
    await machine.daemon.reply(await machine.daemon.nextCall());
    await listing;
    expect(await subscription.callEvent(EventType.STARTED, 'mkdir')).toMatchObject({ type: EventType.STARTED });
    subscription.cancel();
    await subscription.ended.catch(() => undefined);
    await machine.stop();
  });

  it('that uploads is sent no faster than the daemon takes it', async () => {
    const machine = await launch();
    const { stream, done } = session.openUpload('upload');
    stream.write(argumentsOf('upload', { remotefilename: '/file' }));
    const chunk = pattern(MEBIBYTE);
    let sent = 0;
    const writing = (async () => {
      for (let count = 0; count < 32; count++) {
        await new Promise<unknown>((resolve) => stream.write({ payload: { $case: 'chunk', value: chunk } }, resolve));
        sent += chunk.length;
      }
      stream.end();
    })();
    const call = await machine.daemon.nextCall();
    expect(call.procedure).toBe(upload.procedure);
    await delay(1500);
    expect(sent).toBeLessThan(IN_BETWEEN);
    const { data } = await machine.daemon.nextFile();
    await writing;
    expect(data).toHaveLength(32 * MEBIBYTE);
    await machine.daemon.reply(call);
    await done;
    await machine.stop();
  });

  it('that downloads is answered no faster than its client reads', async () => {
    const machine = await launch();
    const stream = session.openStream('download', { remotefilename: '/file' });
    let received = 0;
    // A client of grpc-js that has read nothing yet takes everything.
    const first = new Promise<void>((resolve) => {
      stream.on('data', ({ chunk }: DownloadResponse) => {
        if (received === 0) stream.pause();
        received += chunk.length;
        resolve();
      });
    });
    const ended = new Promise((resolve) => stream.once('end', resolve));
    const call = await machine.daemon.nextCall();
    expect(call.procedure).toBe(download.procedure);
    await machine.daemon.reply(call);
    let sent = 0;
    const piece = pattern(8000);
    const sending = (async () => {
      for (; sent < 32 * MEBIBYTE; sent += piece.length) await machine.daemon.chunk(piece);
      await machine.daemon.lastChunk();
    })();
    sending.catch(() => undefined); // the test has failed then
    await first;
    await delay(1500);
    expect(sent).toBeLessThan(IN_BETWEEN);
    stream.resume();
    await ended;
    await sending;
    expect(received).toBe(sent);
    await machine.stop();
  });
});

/** Uploads and downloads, and everything that can end them: the session still works afterwards. */
import { createHash, randomBytes } from 'node:crypto';
import { credentials, status, type StatusObject } from '@grpc/grpc-js';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { TransferServiceClient } from '../../gen/proto/guestfs/v1/transfer.js';
import { crc32c } from '../../src/common/crc32c.js';
import { describeWithAppliance } from '../support/appliance.js';
import { cuttableProxy, type CuttableProxy } from '../support/cuttableProxy.js';
import { eventually } from '../support/eventually.js';
import { frameRelay } from '../support/frameRelay.js';
import { lateResetProxy } from '../support/lateResetProxy.js';
import { residentMemory, resetPeakMemory } from '../support/processes.js';
import { launchSession, serverForTests } from '../support/scene.js';
import {
  argumentsOf,
  asFailure,
  failureOf,
  scratchDrive,
  sessionMetadata,
  SessionClient,
  TestClient,
} from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const CHUNK = Buffer.alloc(64 * 1024, 'c');
const CHUNK_LIMIT = MEBIBYTE;

/** The same chunk, endlessly. */
function* endless(chunk = CHUNK): Generator<Buffer> {
  for (;;) yield chunk;
}

/** Some chunks, then silence. */
async function* silentAfter(chunks: number): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < chunks; sent += 1) yield CHUNK;
  await new Promise(() => undefined);
}

const chunkMessage = (value: Buffer): object => ({ payload: { $case: 'chunk', value } });

describeWithAppliance('a transfer', () => {
  const scene = serverForTests();
  let session: SessionClient;

  beforeAll(async () => {
    session = await launchSession(scene.client, [scratchDrive(1100 * MEBIBYTE), scratchDrive(8 * MEBIBYTE)]);
    for (const [device, mountpoint] of [
      ['/dev/sda', '/'],
      ['/dev/sdb', '/small'],
    ]) {
      await session.call('mkfs', { fstype: 'ext2', device });
      if (mountpoint !== '/') await session.call('mkdir', { path: mountpoint });
      await session.call('mount', { mountable: device, mountpoint });
    }
    await session.call('touch', { path: '/sparse' });
    await session.call('truncate_size', { path: '/sparse', size: BigInt(512 * MEBIBYTE) });
  });

  // Whatever a test did, the connection to the daemon is consistent and accepts both kinds of transfers.
  afterEach(async () => {
    const contents = randomBytes(100_000);
    await session.upload('upload', { remotefilename: '/after' }, [contents]);
    expect((await session.download('download', { remotefilename: '/after' })).equals(contents)).toBe(true);
    await session.call('ping_daemon');
    await eventually(async () => (await scene.client.getSession(session.id)).pending_calls === 0);
  });

  describe('that succeeds', () => {
    it('arrives completely, however it is split into chunks', async () => {
      const contents = randomBytes(3 * MEBIBYTE + 5);
      const sizes = [1, 2, 3, 8191, 8192, 8193, 100_000, CHUNK_LIMIT, 0];
      const chunks: Buffer[] = [];
      for (let start = 0, turn = 0; start < contents.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        chunks.push(contents.subarray(start, start + size));
        start += size;
      }
      await session.upload('upload', { remotefilename: '/cut' }, chunks);
      expect(await session.call('checksum', { csumtype: 'sha256', path: '/cut' })).toBe(
        createHash('sha256').update(contents).digest('hex'),
      );
      expect(
        (await session.download('download_offset', { remotefilename: '/cut', offset: 8191n, size: 100_000n })).equals(
          contents.subarray(8191, 108_191),
        ),
      ).toBe(true);
    });

    it('without chunks makes an empty file, which is downloaded without chunks', async () => {
      await session.upload('upload', { remotefilename: '/empty' }, []);
      expect(await session.call('filesize', { file: '/empty' })).toBe(0n);
      expect(await session.download('download', { remotefilename: '/empty' })).toHaveLength(0);
    });

    it.each([
      ['too small', 10n],
      ['zero', 0n],
      ['much too large', 2n ** 63n - 1n],
    ])('does not depend on its progress hint: %s', async (_what, progress_hint) => {
      await session.upload('upload', { remotefilename: '/hinted', progress_hint }, [CHUNK, CHUNK]);
      expect(await session.call('filesize', { file: '/hinted' })).toBe(BigInt(2 * CHUNK.length));
    });

    it('waits for the one before, and both are right', async () => {
      const contents = [randomBytes(4 * MEBIBYTE), randomBytes(4 * MEBIBYTE)];
      const parts = (bytes: Buffer): Buffer[] =>
        Array.from({ length: 64 }, (_part, index) => bytes.subarray(index * CHUNK.length, (index + 1) * CHUNK.length));
      await Promise.all(
        contents.map((bytes, index) => session.upload('upload', { remotefilename: `/both${index}` }, parts(bytes))),
      );
      const back = await Promise.all(
        contents.map((_bytes, index) => session.download('download', { remotefilename: `/both${index}` })),
      );
      expect(back.map((bytes, index) => bytes.equals(contents[index] as Buffer))).toEqual([true, true]);
    });
  });

  describe('that is not sent as it should be', () => {
    /** Sends these messages, leaves the stream open, and returns the failure. */
    const failureAfter = async (...messages: object[]) => {
      const { stream, done } = session.openUpload('upload');
      for (const message of messages) stream.write(message);
      const failure = await failureOf(done);
      stream.end();
      return failure;
    };
    const first = argumentsOf('upload', { remotefilename: '/odd' });

    it('is refused when it starts with a chunk', async () => {
      expect(await failureAfter(chunkMessage(CHUNK))).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('first message must set arguments'),
        info: { reason: 'BAD_ARGUMENT', fields: ['payload'] },
      });
    });

    it('is refused if arguments are sent twice', async () => {
      expect(await failureAfter(first, chunkMessage(CHUNK), first)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('only once'),
        info: { reason: 'BAD_ARGUMENT', fields: ['payload'] },
      });
    });

    it('is refused when it ends before anything is sent', async () => {
      const { stream, done } = session.openUpload('upload');
      stream.end();
      expect(await failureOf(done)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('ended without'),
        info: { fields: ['payload'] },
      });
    });

    it.each([
      ['at first', []],
      ['later', [first]],
    ])('is refused when a message is empty, %s', async (_when, before) => {
      expect(await failureAfter(...before, { payload: undefined })).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('either arguments or chunk'),
        info: { fields: ['payload'] },
      });
    });

    it('is refused if a chunk is over the limit, which is in the message', async () => {
      const failure = await failureAfter(first, chunkMessage(Buffer.alloc(CHUNK_LIMIT + 1)));
      expect(failure).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: expect.stringContaining(String(CHUNK_LIMIT)),
        info: { reason: 'CHUNK_TOO_LARGE', metadata: { limit: String(CHUNK_LIMIT), action: 'upload' } },
      });
    });

    it('is refused when the progress hint is negative', async () => {
      const failure = await failureAfter(argumentsOf('upload', { remotefilename: '/odd', progress_hint: -1n }));
      expect(failure).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('progress_hint'),
        info: { fields: ['progress_hint'] },
      });
    });
  });

  describe('that is certain', () => {
    const contents = randomBytes(3 * MEBIBYTE + 5);
    const chunks = (): Buffer[] => [
      contents.subarray(0, MEBIBYTE),
      contents.subarray(MEBIBYTE, 2 * MEBIBYTE),
      contents.subarray(2 * MEBIBYTE, 3 * MEBIBYTE),
      contents.subarray(3 * MEBIBYTE),
    ];
    const stated = {
      exact_size: BigInt(contents.length),
      sha256: createHash('sha256').update(contents).digest(),
      crc32c: crc32c(contents),
    };

    it('arrives if it is as stated by its client', async () => {
      await session.upload('upload', { remotefilename: '/certain', ...stated }, chunks());
      expect(await session.call('checksum', { csumtype: 'sha256', path: '/certain' })).toBe(
        stated.sha256.toString('hex'),
      );
    });

    it.each([
      ['exact_size', { exact_size: stated.exact_size + 1n }],
      ['exact_size', { exact_size: 100n }],
      ['sha256', { sha256: Buffer.alloc(32) }],
      ['crc32c', { crc32c: (stated.crc32c ^ 1) >>> 0 }],
    ])('fails if its %s is another', async (check, wrong) => {
      const failure = await failureOf(
        session.upload('upload', { remotefilename: '/other', ...stated, ...wrong }, chunks()),
      );
      expect(failure).toMatchObject({
        code: status.DATA_LOSS,
        info: { reason: 'CHECKSUM_MISMATCH', metadata: { action: 'upload', check } },
      });
    });

    it('has what it was in its trailers, if its client asks', async () => {
      await session.upload('upload', { remotefilename: '/certain' }, chunks());
      const client = new TransferServiceClient(scene.server.address, credentials.createInsecure());
      const metadata = sessionMetadata(session.id);
      metadata.set('guestfs-checksum', 'crc32c,sha256');
      const stream = client.download({ remotefilename: '/certain' }, metadata);
      stream.resume();
      const end = await new Promise<StatusObject>((resolve) => stream.once('status', resolve));
      client.close();
      expect(end.code).toBe(status.OK);
      expect(end.metadata.getMap()).toMatchObject({
        'guestfs-size': String(contents.length),
        'guestfs-sha256': stated.sha256.toString('hex'),
        'guestfs-crc32c': stated.crc32c.toString(16).padStart(8, '0'),
      });
    });
  });

  describe('that is cut', () => {
    it.each([
      [
        'directly, between two messages',
        async () => ({ address: scene.server.address, close: async () => undefined }),
        {},
        /^CANCELLED$/,
      ],
      [
        'through a slow relay, between two messages',
        () => frameRelay(scene.server.address, 'apart', 10),
        {},
        /^CANCELLED$/,
      ],
      [
        'through a proxy that passes the reset on late, of a known size',
        () => lateResetProxy(scene.server.address, { delayMs: 100, endsWhatIsLost: true }),
        { exact_size: BigInt(100 * CHUNK.length) },
        // A busy server may take so long to look at the end that the reset arrives before.
        /^(CHECKSUM_MISMATCH|UPLOAD_INCOMPLETE)$/,
      ],
    ])('%s, never counts as complete', async (_how, route, stated, reason) => {
      const way = await route();
      const client = new TestClient(way.address);
      const far = new SessionClient(client, session.id);
      for (let chunks = 0; chunks < 8; chunks += 1) {
        const { callEvent, cancel } = await scene.client.subscribe(session.id, [EventType.STARTED, EventType.FINISHED]);
        const { stream, done } = far.openUpload('upload');
        stream.write(argumentsOf('upload', { remotefilename: '/cut', ...stated }));
        for (let sent = 0; sent < chunks; sent += 1) stream.write(chunkMessage(CHUNK));
        await callEvent(EventType.STARTED, 'upload');
        // The last chunk is on its way, or has arrived.
        await new Promise((resolve) => setTimeout(resolve, 10 * chunks));
        stream.cancel();
        expect(await failureOf(done)).toMatchObject({ code: status.CANCELLED });
        expect((await callEvent(EventType.FINISHED, 'upload')).detail).toMatchObject({
          value: { error_reason: expect.stringMatching(reason) },
        });
        cancel();
      }
      client.close();
      await way.close();
    });
  });

  describe('that the daemon does not want', () => {
    it.each([
      ['into a directory that does not exist', '/missing/file', status.NOT_FOUND, 'ENOENT'],
      ['onto a directory', '/small', status.FAILED_PRECONDITION, 'EISDIR'],
      ['below a file', '/after/file', status.FAILED_PRECONDITION, 'ENOTDIR'],
    ])('ends at once, %s, although the client would continue', async (_where, remotefilename, code, reason) => {
      expect(await failureOf(session.upload('upload', { remotefilename }, endless()))).toMatchObject({
        code,
        info: { domain: 'guestfs', reason, metadata: { action: 'upload', state: 'READY' } },
      });
    });

    it('ends at once if the client sends nothing more', async () => {
      expect(
        await failureOf(session.upload('upload', { remotefilename: '/missing/file' }, silentAfter(0))),
      ).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'ENOENT' } });
    });

    it('ends when the disk is full', async () => {
      const failure = await failureOf(session.upload('upload', { remotefilename: '/small/large' }, endless()));
      // The daemon names no errno here; its log has the cause.
      expect(failure).toMatchObject({
        code: status.UNKNOWN,
        details: 'write error: /small/large',
        info: { reason: 'DAEMON_ERROR', metadata: { action: 'upload' } },
      });
      expect(await scene.client.getLog(session.id)).toContain('No space left on device');
      await session.call('rm', { path: '/small/large' });
    });

    it('ends when what is sent is no archive', async () => {
      const failure = await failureOf(session.upload('tar_in', { directory: '/' }, [randomBytes(MEBIBYTE)]));
      expect(failure.info?.metadata).toMatchObject({ action: 'tar_in' });
      expect(failure.details).toMatch(/tar/);
    });

    it.each([
      ['that does not exist', '/missing', status.NOT_FOUND, 'ENOENT'],
      ['below a file', '/after/x', status.FAILED_PRECONDITION, 'ENOTDIR'],
    ])('fails before the first byte for a file %s', async (_what, remotefilename, code, reason) => {
      expect(await failureOf(session.download('download', { remotefilename }))).toMatchObject({
        code,
        info: { reason, metadata: { action: 'download' } },
      });
    });

    it('fails for a directory', async () => {
      expect(await failureOf(session.download('download', { remotefilename: '/small' }))).toMatchObject({
        details: expect.stringMatching(/directory/),
      });
    });
  });

  describe('that is given up', () => {
    let proxy: CuttableProxy;
    let far: { client: TestClient; session: SessionClient };

    /** A client behind a proxy that can be cut. */
    const connectFar = async (): Promise<void> => {
      proxy = await cuttableProxy(scene.server.address);
      const client = new TestClient(proxy.address);
      far = { client, session: new SessionClient(client, session.id) };
    };
    const disconnectFar = async (): Promise<void> => {
      far.client.close();
      await proxy.close();
    };

    it('by a client that vanishes in the middle of an upload', async () => {
      await connectFar();
      const { callEvent, event, cancel } = await scene.client.subscribe(session.id, [
        EventType.FINISHED,
        EventType.PROGRESS,
      ]);
      const upload = far.session.upload(
        'upload',
        { remotefilename: '/vanished', progress_hint: BigInt(1024 * MEBIBYTE) },
        endless(),
      );
      upload.catch(() => undefined);
      await event((one) => one.type === EventType.PROGRESS);
      proxy.cut();
      expect((await callEvent(EventType.FINISHED, 'upload')).detail).toMatchObject({
        value: { error_reason: 'CANCELLED' },
      });
      expect(await failureOf(upload)).toMatchObject({ code: status.UNAVAILABLE });
      cancel();
      await disconnectFar();
    });

    it('by a client that disappears while it sends nothing', async () => {
      await connectFar();
      const { callEvent, cancel } = await scene.client.subscribe(session.id, [EventType.STARTED, EventType.FINISHED]);
      const upload = far.session.upload('upload', { remotefilename: '/silent' }, silentAfter(1));
      upload.catch(() => undefined);
      await callEvent(EventType.STARTED, 'upload');
      proxy.cut();
      expect((await callEvent(EventType.FINISHED, 'upload')).detail).toMatchObject({
        value: { error_reason: 'CANCELLED' },
      });
      cancel();
      await disconnectFar();
    });

    it('by a client that vanishes before it has sent arguments', async () => {
      await connectFar();
      const { done } = far.session.openUpload('upload');
      await far.session.call('ping_daemon'); // the stream is open now, too
      proxy.cut();
      expect(await failureOf(done)).toMatchObject({ code: status.UNAVAILABLE });
      await disconnectFar();
    });

    it('by a client that vanishes in the middle of a download', async () => {
      await connectFar();
      const { callEvent, cancel } = await scene.client.subscribe(session.id, [EventType.FINISHED]);
      const stream = far.session.openStream('download', { remotefilename: '/sparse' });
      const failed = new Promise<unknown>((resolve) => stream.on('error', resolve));
      await new Promise((resolve) => stream.once('data', resolve));
      proxy.cut();
      expect((await callEvent(EventType.FINISHED, 'download')).detail).toMatchObject({
        value: { error_reason: 'CANCELLED' },
      });
      expect(asFailure(await failed)).toMatchObject({ code: status.UNAVAILABLE });
      cancel();
      await disconnectFar();
    });

    it('by a client that stops reading, and then vanishes; until then others wait', async () => {
      await connectFar();
      const { callEvent, cancel } = await scene.client.subscribe(session.id, [EventType.FINISHED]);
      const stream = far.session.openStream('download', { remotefilename: '/sparse' });
      stream.on('error', () => undefined);
      await new Promise((resolve) => stream.once('data', resolve));
      proxy.stall();
      expect(await session.failure('ping_daemon', {}, { deadline: Date.now() + 1500 })).toMatchObject({
        code: status.DEADLINE_EXCEEDED,
      });
      const waiting = session.call('ping_daemon');
      proxy.cut();
      await waiting;
      expect((await callEvent(EventType.FINISHED, 'download')).detail).toMatchObject({
        value: { error_reason: 'CANCELLED' },
      });
      cancel();
      await disconnectFar();
    });

    it('by a client that cancels its download', async () => {
      const stream = session.openStream('download', { remotefilename: '/sparse' });
      const failed = new Promise<unknown>((resolve) => stream.on('error', resolve));
      await new Promise((resolve) => stream.once('data', resolve));
      stream.cancel();
      expect(asFailure(await failed)).toMatchObject({ code: status.CANCELLED });
    });

    it('by the deadline of an upload', async () => {
      const upload = session.upload('upload', { remotefilename: '/late' }, silentAfter(3), {
        deadline: Date.now() + 1500,
      });
      expect(await failureOf(upload)).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    });

    it('by the deadline of a download', async () => {
      const stream = session.openStream('download', { remotefilename: '/sparse' }, { deadline: Date.now() + 1500 });
      const failed = new Promise<unknown>((resolve) => stream.on('error', resolve));
      stream.once('data', () => stream.pause());
      expect(asFailure(await failed)).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    });

    it('by the deadline of an upload whose client is unreachable', async () => {
      await connectFar();
      const { callEvent, cancel } = await scene.client.subscribe(session.id, [EventType.STARTED, EventType.FINISHED]);
      far.session
        .upload('upload', { remotefilename: '/late' }, silentAfter(3), { deadline: Date.now() + 3000 })
        .catch(() => undefined);
      await callEvent(EventType.STARTED, 'upload');
      proxy.stall();
      expect((await callEvent(EventType.FINISHED, 'upload')).detail).toMatchObject({
        value: { error_reason: 'DEADLINE_EXCEEDED' },
      });
      cancel();
      await disconnectFar();
    });

    it('by user_cancel, in an upload', async () => {
      const { event, cancel } = await scene.client.subscribe(session.id, [EventType.PROGRESS]);
      const failure = failureOf(
        session.upload('upload', { remotefilename: '/cancelled', progress_hint: BigInt(1024 * MEBIBYTE) }, endless()),
      );
      await event((one) => one.type === EventType.PROGRESS);
      await session.call('user_cancel');
      expect(await failure).toMatchObject({
        code: status.CANCELLED,
        details: expect.stringContaining('user_cancel'),
        info: { reason: 'EINTR', metadata: { action: 'upload' } },
      });
      cancel();
    });

    it('by user_cancel, in an upload that waits for its client', async () => {
      const { callEvent, cancel } = await scene.client.subscribe(session.id, [EventType.STARTED]);
      const failure = failureOf(session.upload('upload', { remotefilename: '/cancelled' }, silentAfter(1)));
      await callEvent(EventType.STARTED, 'upload');
      await session.call('user_cancel');
      expect(await failure).toMatchObject({ code: status.CANCELLED, info: { reason: 'EINTR' } });
      cancel();
    });

    it('by user_cancel, in a download', async () => {
      const stream = session.openStream('download', { remotefilename: '/sparse' });
      const failed = new Promise<unknown>((resolve) => stream.on('error', resolve));
      await new Promise((resolve) => stream.once('data', resolve));
      await session.call('user_cancel');
      stream.resume();
      expect(asFailure(await failed)).toMatchObject({
        code: status.CANCELLED,
        info: { reason: 'EINTR', metadata: { action: 'download' } },
      });
    });

    it('not by a user_cancel that came before it', async () => {
      await session.call('user_cancel');
      await session.upload('upload', { remotefilename: '/not-cancelled' }, [CHUNK]);
    });
  });

  describe('of 512 MiB', () => {
    const SIZE = 512 * MEBIBYTE;
    const GROWTH_LIMIT = 64 * MEBIBYTE;

    /** How much more memory the server needed than before, at most. */
    const growthDuring = async (transfer: () => Promise<void>): Promise<number> => {
      const pid = scene.server.process.pid ?? 0;
      resetPeakMemory(pid);
      const before = residentMemory(pid).now;
      await transfer();
      return residentMemory(pid).peak - before;
    };

    it('to a client that is slow does not pile up in the server', async () => {
      let received = 0;
      const growth = await growthDuring(
        () =>
          new Promise((resolve, reject) => {
            const stream = session.openStream('download', { remotefilename: '/sparse' });
            let pauses = 0;
            stream.on('data', ({ chunk }: { chunk: Buffer }) => {
              received += chunk.length;
              // Eight times, a client is unreachable for a while: the server would have the time to read everything.
              if (received < (pauses + 1) * (SIZE / 8)) return;
              pauses += 1;
              stream.pause();
              setTimeout(() => stream.resume(), 250);
            });
            stream.on('end', resolve);
            stream.on('error', reject);
          }),
      );
      expect(received).toBe(SIZE);
      expect(growth).toBeLessThan(GROWTH_LIMIT);
    });

    it('from a client that is fast does not pile up in the server', async () => {
      const chunk = Buffer.alloc(CHUNK_LIMIT, 'u');
      function* chunks(): Generator<Buffer> {
        for (let sent = 0; sent < SIZE; sent += chunk.length) yield chunk;
      }
      const growth = await growthDuring(() =>
        session.upload('upload', { remotefilename: '/uploaded', progress_hint: BigInt(SIZE) }, chunks()),
      );
      expect(await session.call('filesize', { file: '/uploaded' })).toBe(BigInt(SIZE));
      expect(growth).toBeLessThan(GROWTH_LIMIT);
    });
  });
});

/**
 * Neither side of a transfer, nor a hostile daemon, makes the server hold more than it must.
 */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { download, upload } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  connected,
  type Connected,
  connectedTo,
  expectRest,
  failureOf,
  transfer,
  VERSION,
} from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeDaemon } from '../../fakes/fakeDaemon.js';
import { BottomlessSource, collector, cut, EndlessSource, pattern, pieces } from '../../fakes/files.js';
import { memoryInUse } from '../../fakes/memory.js';
import { socketPair } from '../../fakes/socketPair.js';
import { forbidWarnings } from '../../fakes/warnings.js';
import { word } from '../../fakes/xdrBytes.js';

// 128 MiB take a busy machine longer than the usual five seconds.
jest.setTimeout(60_000);

const MEBIBYTE = 1024 * 1024;
const uploadRequest = { remotefilename: '/to', progress_hint: undefined };
const downloadRequest = { remotefilename: '/from' };

forbidWarnings();

describe('flow', () => {
  it('holds back the daemon while the delivered data is not consumed, with less than 1 MiB in transit', async () => {
    const both = await connected();
    let deliveries = 0;
    const cancel = new AbortController();
    const answer = failureOf(
      both.connection.download(
        download,
        downloadRequest,
        VERSION,
        () => {
          deliveries += 1;
          return new Promise<never>(() => undefined);
        },
        transfer(cancel.signal),
      ),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.reply(call);
    let written = 0;
    const flood = (async () => {
      for (; written < 16 * MEBIBYTE; written += 8192) await both.daemon.chunk(pattern(8192));
    })();
    await quiet();
    expect(written).toBeGreaterThan(8192);
    expect(written).toBeLessThan(MEBIBYTE);
    const stalledAt = written;
    await quiet();
    expect(written).toBe(stalledAt);
    expect(deliveries).toBe(1);
    cancel.abort(new GuestfsError('CANCELLED', 'enough'));
    await flood;
    await both.daemon.cancelChunk();
    expect(await answer).toMatchObject({ reason: 'CANCELLED' });
  });

  it('delivers at most 128 KiB at once, and in order, to a slow receiver', async () => {
    const both = await connected();
    const data = pattern(3 * MEBIBYTE);
    const collected = collector();
    const answer = both.connection.download(
      download,
      downloadRequest,
      VERSION,
      async (delivered) => {
        await quiet();
        await collected.deliver(delivered);
      },
      transfer(),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    for (const piece of cut(data)) await both.daemon.chunk(piece);
    await both.daemon.lastChunk();
    await answer;
    expect(collected.data().equals(data)).toBe(true);
    expect(Math.max(...collected.sizes)).toBeLessThanOrEqual(128 * 1024);
    expect(Math.max(...collected.sizes)).toBeGreaterThan(8192);
    await expectRest(both);
  });

  it('delivers the first chunk at once, and collects later ones that arrive one by one', async () => {
    const both = await connected();
    const data = pattern(2 * MEBIBYTE);
    const collected = collector();
    const answer = both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer());
    await both.daemon.reply(await both.daemon.nextCall());
    const [first = Buffer.alloc(0), ...others] = cut(data);
    await both.daemon.chunk(first);
    await quiet();
    expect(collected.sizes).toEqual([8192]);
    for (const piece of others) {
      await both.daemon.chunk(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await both.daemon.lastChunk();
    await answer;
    expect(collected.data().equals(data)).toBe(true);
    expect(collected.sizes.length).toBeLessThan(100);
    await expectRest(both);
  });

  describe('of small chunks', () => {
    /** Longer than any wait for more. */
    const WHILE_MS = 10;
    let pauses = 0;
    let both: Connected;

    beforeEach(async () => {
      both = await connected();
      pauses = 0;
      both.daemon.channel.on('pause', () => {
        pauses += 1;
      });
      // Only the waits for more; the event loop works as usual.
      jest.useFakeTimers({
        doNotFake: [
          'Date',
          'hrtime',
          'nextTick',
          'performance',
          'queueMicrotask',
          'setImmediate',
          'clearImmediate',
          'setInterval',
          'clearInterval',
        ],
      });
    });
    afterEach(() => {
      jest.useRealTimers();
    });

    const wait = async (): Promise<void> => {
      await quiet();
      jest.advanceTimersByTime(WHILE_MS);
      await quiet();
    };

    /** A download whose first chunk has arrived alone, and ten more together. */
    const begin = async (
      collected: ReturnType<typeof collector>,
      size: number,
    ): Promise<{ readonly answer: Promise<void>; readonly sent: Buffer[] }> => {
      const answer = both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer());
      await both.daemon.reply(await both.daemon.nextCall());
      const sent = Array.from({ length: 11 }, (_, index) => pattern(size, index));
      const [first, ...others] = sent as [Buffer, ...Buffer[]];
      await both.daemon.chunk(first);
      await quiet();
      const writing = Promise.all(others.map((chunk) => both.daemon.chunk(chunk)));
      await wait();
      await writing;
      return { answer, sent };
    };

    it.each([
      ['rests between them', 30, 20],
      ['does not rest between full ones', 8192, 0],
    ])('%s', async (_what, size, rests) => {
      const collected = collector();
      const { answer, sent } = await begin(collected, size);
      expect(pauses).toBe(0);
      for (let index = 0; index < 20; index += 1) {
        sent.push(pattern(size, index));
        await both.daemon.chunk(sent.at(-1) as Buffer);
        await wait();
      }
      expect(pauses).toBe(rests);
      expect(both.daemon.channel.isPaused()).toBe(false);
      await both.daemon.lastChunk();
      await wait();
      await answer;
      expect(collected.data().equals(Buffer.concat(sent))).toBe(true);
      jest.useRealTimers();
      await expectRest(both);
    });
  });

  it('does not wait for more once the end has arrived', async () => {
    const both = await connected();
    const collected = collector();
    const answer = both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer());
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.chunk(pattern(8192));
    await quiet();
    await both.daemon.chunk(pattern(100));
    await both.daemon.lastChunk();
    await quiet();
    expect(collected.sizes).toEqual([8192, 100]);
    await answer;
  });

  it.each([
    ['of no length', Buffer.alloc(0)],
    ['of eight bytes', Buffer.concat([word(0), word(0)])],
  ])('holds back a daemon that endlessly sends messages %s', async (_what, content) => {
    const both = await connected();
    const cancel = new AbortController();
    const answer = failureOf(
      both.connection.download(
        download,
        downloadRequest,
        VERSION,
        () => new Promise<never>(() => undefined),
        transfer(cancel.signal),
      ),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.reply(call);
    await both.daemon.chunk(pattern(1));
    await quiet();
    const many = Buffer.concat(Array.from({ length: 1000 }, () => FakeDaemon.messageBytes(content)));
    const before = memoryInUse();
    let written = 0;
    const flood = (async () => {
      for (; written < 16 * MEBIBYTE; written += many.length) await both.daemon.write(many);
    })().catch(() => undefined);
    for (let round = 0; round < 20; round += 1) await quiet();
    expect(written).toBeLessThan(MEBIBYTE);
    expect(memoryInUse() - before).toBeLessThan(4 * MEBIBYTE);
    both.connection.close();
    await flood;
    await answer;
  });

  it.each([
    ['small pieces', 1000],
    ['pieces of 64 KiB', 64 * 1024],
  ])('reads less than 1 MiB from a source of %s while the daemon does not read', async (_what, size) => {
    const both = await connected();
    const source = new BottomlessSource(size);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    await quiet();
    expect(source.taken).toBeGreaterThan(0);
    expect(source.taken).toBeLessThan(MEBIBYTE);
    const stalledAt = source.taken;
    await quiet();
    expect(source.taken).toBe(stalledAt);
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
  });

  it('splits a piece of many megabytes into chunks gradually', async () => {
    const both = await connected();
    const piece = pattern(32 * MEBIBYTE);
    const before = memoryInUse();
    const answer = both.connection.upload(upload, uploadRequest, VERSION, pieces(piece), transfer());
    await quiet();
    expect(memoryInUse() - before).toBeLessThan(MEBIBYTE);
    expect(both.daemon.channel.writableLength + both.daemon.unreadBytes).toBeLessThan(MEBIBYTE);
    const call = await both.daemon.nextCall();
    const file = await both.daemon.nextFile();
    expect(file.data.equals(piece)).toBe(true);
    await both.daemon.reply(call);
    await answer;
    await expectRest(both);
  });

  it('sends no more of a large piece once the daemon refused it', async () => {
    const both = await connected();
    const answer = failureOf(
      both.connection.upload(
        upload,
        uploadRequest,
        VERSION,
        new EndlessSource([Buffer.alloc(32 * MEBIBYTE)]),
        transfer(),
      ),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.nextPiece();
    await both.daemon.cancelFlag();
    const file = await both.daemon.nextFile();
    expect(file.cancelled).toBe(true);
    expect(file.data.length).toBeLessThan(MEBIBYTE);
    await both.daemon.fail(call, 'ENOSPC', 'full');
    expect(await answer).toMatchObject({ reason: 'ENOSPC' });
    await expectRest(both);
  });

  it('sends 100,000 chunks without a listener or memory left behind', async () => {
    const both = await connected();
    const count = 100_000;
    const chunk = pattern(64);
    let before = 0;
    let growth = 0;
    const source = async function* (): AsyncGenerator<Buffer> {
      for (let sent = 0; sent < count; sent += 1) {
        if (sent === 10_000) before = memoryInUse();
        if (sent === count - 1) growth = memoryInUse() - before;
        yield chunk;
      }
    };
    const cancel = new AbortController();
    const answer = both.connection.upload(upload, uploadRequest, VERSION, source(), transfer(cancel.signal));
    const call = await both.daemon.nextCall();
    let received = 0;
    for (
      let piece = await both.daemon.nextPiece();
      piece.kind === 'chunk' && piece.data.length > 0;
      piece = await both.daemon.nextPiece()
    )
      received += 1;
    await both.daemon.reply(call);
    await answer;
    expect(received).toBe(count);
    expect(growth).toBeLessThan(2 * MEBIBYTE);
    expect(
      both.daemon.channel.eventNames().reduce((sum, name) => sum + both.daemon.channel.listenerCount(name), 0),
    ).toBeLessThan(12);
    await expectRest(both);
  });

  it('receives 100,000 chunks without a listener or memory left behind', async () => {
    const both = await connected();
    const count = 100_000;
    let received = 0;
    const answer = both.connection.download(
      download,
      downloadRequest,
      VERSION,
      async (delivered) => {
        received += delivered.length;
      },
      transfer(new AbortController().signal),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    const many = Buffer.concat(Array.from({ length: 100 }, () => FakeDaemon.chunkBytes(pattern(64))));
    for (let sent = 0; sent < 10_000; sent += 100) await both.daemon.write(many);
    const before = memoryInUse();
    for (let sent = 10_000; sent < count; sent += 100) await both.daemon.write(many);
    const growth = memoryInUse() - before;
    await both.daemon.lastChunk();
    await answer;
    expect(received).toBe(count);
    expect(growth).toBeLessThan(2 * MEBIBYTE);
    expect(
      both.daemon.channel.eventNames().reduce((sum, name) => sum + both.daemon.channel.listenerCount(name), 0),
    ).toBeLessThan(12);
    await expectRest(both);
  });

  it('makes thousands of calls without a listener left behind', async () => {
    const both = await connected();
    for (let round = 0; round < 2000; round += 1) {
      const answer = both.connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION);
      await both.daemon.reply(await both.daemon.nextCall(), word(1));
      await answer;
    }
    expect(
      both.daemon.channel.eventNames().reduce((sum, name) => sum + both.daemon.channel.listenerCount(name), 0),
    ).toBeLessThan(12);
  });
});

describe('over a Unix socket', () => {
  async function overSocket(): Promise<Connected> {
    return connectedTo(new FakeDaemon({ pair: await socketPair() }));
  }

  function checksum(): { readonly add: (bytes: Buffer) => void; readonly value: () => string } {
    const hash = createHash('sha256');
    return { add: (bytes) => hash.update(bytes), value: () => hash.digest('hex') };
  }

  it('64 MiB arrive unchanged, both ways, and the sockets close', async () => {
    const both = await overSocket();
    const piece = pattern(60_000, 5);
    const count = Math.ceil((64 * MEBIBYTE) / piece.length);
    const whole = checksum();
    for (let sent = 0; sent < count; sent += 1) whole.add(piece);
    const expected = whole.value();

    const up = both.connection.upload(
      upload,
      uploadRequest,
      VERSION,
      (async function* () {
        for (let sent = 0; sent < count; sent += 1) yield piece;
      })(),
      transfer(),
    );
    const call = await both.daemon.nextCall();
    const received = checksum();
    for (
      let next = await both.daemon.nextPiece();
      next.kind === 'chunk' && next.data.length > 0;
      next = await both.daemon.nextPiece()
    )
      received.add(next.data);
    await both.daemon.reply(call);
    await up;
    expect(received.value()).toBe(expected);

    const delivered = checksum();
    const down = both.connection.download(
      download,
      downloadRequest,
      VERSION,
      async (buffers) => buffers.forEach(delivered.add),
      transfer(),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    for (let sent = 0; sent < count; sent += 1)
      await both.daemon.write(...cut(piece).map((chunk) => FakeDaemon.chunkBytes(chunk)));
    await both.daemon.lastChunk();
    await down;
    expect(delivered.value()).toBe(expected);

    both.connection.close();
    await both.daemon.closed();
  });

  it('the other end closes: the connection does too', async () => {
    const both = await overSocket();
    const answer = failureOf(both.connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION));
    await both.daemon.nextCall();
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    await both.connection.closed;
  });
});

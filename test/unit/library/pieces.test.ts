import { describe, expect, it } from '@jest/globals';
import { download } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { pieces } from '../../../src/library/pieces.js';
import { all, inTurn, type Script } from './fakes.js';

const REQUEST = { remotefilename: '/x' };

function context(
  file: () => Iterable<Buffer> | AsyncIterable<Buffer>,
  signal = new AbortController().signal,
): ReturnType<typeof inTurn> {
  const script: Script = { files: { download: file } };
  return inTurn('cat', script, { signal });
}

function* many(count: number, size: number): Generator<Buffer> {
  for (let index = 0; index < count; index += 1) yield Buffer.alloc(size, index);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

describe('pieces', () => {
  it('yields all bytes in order', async () => {
    const given = context(() => many(100, 3000));
    expect(Buffer.concat(await all(pieces(given, download, REQUEST)))).toEqual(Buffer.concat([...many(100, 3000)]));
    expect(given.daemon.downloadEnded).toBe('complete');
  });

  it('yields nothing for an empty file', async () => {
    expect(
      await all(
        pieces(
          context(() => []),
          download,
          REQUEST,
        ),
      ),
    ).toEqual([]);
  });

  it('yields the first bytes at once, although more take long', async () => {
    const source = pieces(
      context(async function* () {
        yield Buffer.from('first');
        await pause(200);
        yield Buffer.from('second');
      }),
      download,
      REQUEST,
    );
    const started = performance.now();
    expect((await source.next()).value).toEqual(Buffer.from('first'));
    expect(performance.now() - started).toBeLessThan(150);
    expect((await source.next()).value).toEqual(Buffer.from('second'));
    expect((await source.next()).done).toBe(true);
  });

  it('collects small pieces', async () => {
    const source = await all(
      pieces(
        context(async function* () {
          for (let index = 0; index < 2000; index += 1) {
            yield Buffer.from('x');
            if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
        }),
        download,
        REQUEST,
      ),
    );
    expect(Buffer.concat(source).length).toBe(2000);
    expect(source.length).toBeLessThan(20);
  });

  it('makes the daemon wait while the consumer is busy', async () => {
    const given = context(() => many(1000, 8192));
    const source = pieces(given, download, REQUEST);
    await source.next();
    await pause(30);
    expect(given.daemon.delivered).toBeLessThanOrEqual(20);
    await source.return();
  });

  it('ends the download when the consumer stops, and ends after it', async () => {
    const given = context(() => many(1000, 8192));
    for await (const piece of pieces(given, download, REQUEST)) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    expect(given.daemon.downloadEnded).toBe('cancelled');
  });

  it('passes on the error of the download, after the data before it', async () => {
    const failure = new GuestfsError('EIO', 'broken');
    const got: Buffer[] = [];
    await expect(
      (async () => {
        for await (const piece of pieces(
          context(function* () {
            yield Buffer.from('some');
            throw failure;
          }),
          download,
          REQUEST,
        ))
          got.push(piece);
      })(),
    ).rejects.toBe(failure);
    expect(Buffer.concat(got).toString()).toBe('some');
  });

  it('wakes a delivery that waits when the signal aborts', async () => {
    const controller = new AbortController();
    const given = context(() => many(1000, 8192), controller.signal);
    const source = pieces(given, download, REQUEST);
    await source.next();
    const reason = new GuestfsError('CANCELLED', 'enough');
    controller.abort(reason);
    await expect(all(source)).rejects.toBe(reason);
    expect(given.daemon.downloadEnded).toBe('cancelled');
  });
});

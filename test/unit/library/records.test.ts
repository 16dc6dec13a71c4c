import { describe, expect, it } from '@jest/globals';
import { decodeDirent } from '../../../gen/calls/structs.js';
import { namesOf, recordsOf, sortedRuns } from '../../../src/library/records.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { all } from './fakes.js';

async function* from(...pieces: readonly Buffer[]): AsyncGenerator<Buffer> {
  await Promise.resolve();
  yield* pieces;
}

/** Cuts into pieces of one size. */
function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

function dirents(...names: readonly string[]): Buffer {
  return Buffer.concat(
    names.map((name, index) => {
      const writer = new XdrEncoder();
      writer.int64(BigInt(index));
      writer.int('r'.charCodeAt(0));
      writer.string(name);
      return writer.finish();
    }),
  );
}

describe('namesOf', () => {
  it.each([1, 2, 3, 5, 100])('finds names in pieces of %d bytes', async (size) => {
    const names = (await all(namesOf(from(...cut(Buffer.from('one\0two\0\0three\0'), size)), 'ls'))).flat();
    expect(names.map(String)).toEqual(['one', 'two', '', 'three']);
  });

  it('ignores text without a zero byte at its end, as the library does', async () => {
    expect((await all(namesOf(from(Buffer.from('one\0tw')), 'ls'))).flat().map(String)).toEqual(['one']);
  });

  it('does not collect an endless name forever', async () => {
    const endless = from(...cut(Buffer.alloc(100_000, 'a'), 8192));
    await expect(all(namesOf(endless, 'ls'))).rejects.toMatchObject({ reason: 'DAEMON_ERROR' });
  });
});

describe('sortedRuns', () => {
  async function* names(...list: readonly string[]): AsyncGenerator<Buffer[]> {
    await Promise.resolve();
    yield list.map((name) => Buffer.from(name, 'latin1'));
  }

  it('sorts by bytes, not by characters', async () => {
    const source = names('b', '\u00ff', 'a', '\u00c3\u00a9', 'B', '\u00f0\u009f\u0098\u0080', '\u00ef\u0080\u0080');
    const sorted = await all(sortedRuns(source, { names: 100, bytes: 1000 }));
    expect(sorted).toEqual([['B', 'a', 'b', 'é', '\uf000', '😀', '\uefff']]);
  });

  it('yields batches of a thousand of the sorted items', async () => {
    const list = Array.from({ length: 2500 }, (_, index) => String(9999 - index));
    const batches = await all(sortedRuns(names(...list), { names: 5000, bytes: 1 << 20 }));
    expect(batches.map((batch) => batch.length)).toEqual([1000, 1000, 500]);
    expect(batches.flat()).toEqual([...list].sort());
  });

  it('yields sorted runs of a list larger than its window', async () => {
    const list = Array.from({ length: 10 }, (_, index) => String(9 - index));
    expect(await all(sortedRuns(names(...list), { names: 4, bytes: 1000 }))).toEqual([
      ['6', '7', '8', '9'],
      ['2', '3', '4', '5'],
      ['0', '1'],
    ]);
    expect((await all(sortedRuns(names(...list), { names: 100, bytes: 5 }))).map((batch) => batch.length)).toEqual([
      5, 5,
    ]);
  });

  it('lets no name wait forever', async () => {
    let goOn: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* walk(): AsyncGenerator<Buffer[]> {
      yield [Buffer.from('b'), Buffer.from('a')];
      await slow;
      yield [Buffer.from('0')];
    }
    const runs = sortedRuns(walk(), { names: 100, bytes: 1000, milliseconds: 1 });
    expect((await runs.next()).value).toEqual(['a', 'b']);
    goOn();
    expect(await all(runs)).toEqual([['0']]);
  });

  it('sorts together what arrives in time', async () => {
    async function* walk(): AsyncGenerator<Buffer[]> {
      await Promise.resolve();
      for (const name of ['c', 'b', 'a']) yield [Buffer.from(name)];
    }
    expect(await all(sortedRuns(walk(), { names: 100, bytes: 1000, milliseconds: 60_000 }))).toEqual([['a', 'b', 'c']]);
  });

  it('yields the buffered items before it fails, and ends its source', async () => {
    let ended = false;
    const failure = new Error('no more');
    async function* walk(): AsyncGenerator<Buffer[]> {
      try {
        yield [Buffer.from('a')];
        await new Promise((resolve) => setTimeout(resolve, 20));
        throw failure;
      } finally {
        ended = true;
      }
    }
    const runs = sortedRuns(walk(), { names: 100, bytes: 1000, milliseconds: 1 });
    expect((await runs.next()).value).toEqual(['a']);
    await expect(runs.next()).rejects.toBe(failure);
    expect(ended).toBe(true);
  });

  it('yields nothing for an empty file', async () => {
    expect(await all(sortedRuns(names(), { names: 4, bytes: 1000 }))).toEqual([]);
  });
});

describe('recordsOf', () => {
  const file = dirents('.', '..', 'a name', 'x'.repeat(255), 'last');

  it.each([1, 4, 7, 16, 8192])('finds records in pieces of %d bytes', async (size) => {
    const found = (await all(recordsOf(from(...cut(file, size)), decodeDirent, 'readdir'))).flat();
    expect(found.map(({ name }) => name)).toEqual(['.', '..', 'a name', 'x'.repeat(255), 'last']);
    expect(found[2]).toEqual({ ino: 2n, ftyp: 'r', name: 'a name' });
  });

  it('yields batches of a thousand', async () => {
    const batches = await all(
      recordsOf(from(dirents(...Array.from({ length: 2001 }, String))), decodeDirent, 'readdir'),
    );
    expect(batches.map((batch) => batch.length)).toEqual([1000, 1000, 1]);
  });

  it('refuses a file that ends in a record', async () => {
    const cutOff = from(file.subarray(0, file.length - 4));
    await expect(all(recordsOf(cutOff, decodeDirent, 'readdir'))).rejects.toMatchObject({ reason: 'DAEMON_ERROR' });
  });

  it('refuses a record that never ends', async () => {
    const lie = dirents('x');
    lie.writeUInt32BE(0x7fffffff, 12);
    await expect(
      all(recordsOf(from(lie, ...cut(Buffer.alloc(100_000), 8192)), decodeDirent, 'readdir')),
    ).rejects.toMatchObject({ reason: 'DAEMON_ERROR' });
  });
});

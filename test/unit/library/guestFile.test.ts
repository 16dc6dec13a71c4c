import { describe, expect, it } from '@jest/globals';
import { linesOfFile } from '../../../src/library/guestFile.js';
import { all, inTurn } from './fakes.js';

function reading(content: string | Buffer, size: number, pieceSize = 5): ReturnType<typeof inTurn> {
  const bytes = Buffer.from(content as string);
  return inTurn('inspect_list_applications2', {
    answers: { filesize: { size: BigInt(size) }, is_file: { fileflag: true } },
    files: {
      *download() {
        for (let at = 0; at < bytes.length; at += pieceSize) yield bytes.subarray(at, at + pieceSize);
      },
    },
  });
}

async function lines(content: string | Buffer, pieceSize?: number): Promise<string[]> {
  return (await all(linesOfFile(reading(content, 10, pieceSize), '/x', 1_000_000))).flat();
}

describe('linesOfFile', () => {
  it.each([1, 2, 3, 100])('finds lines in pieces of %d bytes', async (pieceSize) => {
    expect(await lines('one\n\nthree é\nlast', pieceSize)).toEqual(['one', '', 'three é', 'last']);
    expect(await lines('\n', pieceSize)).toEqual(['']);
    expect(await lines('', pieceSize)).toEqual([]);
  });

  it('ends a line at a zero byte, and keeps what is not UTF-8', async () => {
    expect(await lines(Buffer.from('a\0b\nc\xe9\n\0', 'latin1'))).toEqual(['a', 'c\uefe9', '']);
  });

  it('truncates a line that is too long to be relevant', async () => {
    const [first, second] = await lines(`${'x'.repeat(300_000)}\nnext\n`, 8192);
    expect(first?.length).toBe(65_536);
    expect(second).toBe('next');
  });

  it('does not read a file that is too large', async () => {
    const context = reading('x', 101);
    await expect(all(linesOfFile(context, '/x', 100))).rejects.toMatchObject({
      reason: 'EFBIG',
      message: 'size of /x is unreasonably large (101 bytes)',
    });
    expect(context.daemon.actions).toEqual(['filesize']);
  });

  it('does not read something that is not a file: it may never end', async () => {
    const context = inTurn('inspect_list_applications2', {
      answers: { filesize: { size: 0n }, is_file: { fileflag: false } },
    });
    await expect(all(linesOfFile(context, '/x', 100))).rejects.toMatchObject({
      reason: 'DAEMON_ERROR',
      message: '/x is not a regular file',
    });
    expect(context.daemon.sent.at(-1)).toEqual({ action: 'is_file', request: { path: '/x', followsymlinks: true } });
  });

  it('stops reading a file that is larger than its reported size', async () => {
    const context = inTurn('inspect_list_applications2', {
      answers: { filesize: { size: 0n }, is_file: { fileflag: true } },
      files: {
        *download() {
          for (let count = 0; count < 10_000; count += 1) yield Buffer.alloc(8192);
        },
      },
    });
    await expect(all(linesOfFile(context, '/x', 100_000))).rejects.toMatchObject({
      reason: 'EFBIG',
      message: 'size of /x is unreasonably large (more than 100000 bytes)',
    });
    expect(context.daemon.downloadEnded).toBe('cancelled');
    expect(context.daemon.delivered).toBeLessThan(100);
  });
});

import { describe, expect, it } from '@jest/globals';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { answerWriter } from '../../../src/server/answerWriter.js';

/** A stream whose writes end when the test determines. */
function slowStream() {
  const waiting: (() => void)[] = [];
  const written: object[] = [];
  const call = {
    write: (message: object, done: () => void) => {
      written.push(message);
      waiting.push(done);
      return true;
    },
  };
  return {
    call: call as unknown as ServerWritableStream<unknown, object>,
    written,
    finishOne: () => waiting.shift()?.(),
  };
}

describe('answerWriter', () => {
  it('has only one message in flight while the next is prepared', async () => {
    const { call, written, finishOne } = slowStream();
    const writer = answerWriter(call, new AbortController().signal);
    await writer.write({ n: 1 });
    const second = writer.write({ n: 2 });
    let taken = false;
    void second.then(() => {
      taken = true;
    });
    await Promise.resolve();
    expect(written).toEqual([{ n: 1 }]);
    expect(taken).toBe(false);
    finishOne();
    await second;
    expect(written).toEqual([{ n: 1 }, { n: 2 }]);
    const flushed = writer.flushed();
    finishOne();
    await flushed;
  });

  it('fails when the client disconnects, although the write never completes', async () => {
    const gone = new AbortController();
    const writer = answerWriter(slowStream().call, gone.signal);
    await writer.write({});
    const next = writer.write({});
    gone.abort(new Error('gone'));
    await expect(next).rejects.toThrow('gone');
    await expect(writer.flushed()).rejects.toThrow('gone');
  });
});

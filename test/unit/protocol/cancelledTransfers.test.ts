/**
 * A transfer that this side ends early is ended by the protocol, and the next call works.
 */
import { describe, expect, it } from '@jest/globals';
import { download, upload } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { NothingMoreComes } from '../../../src/protocol/fileTransfer.js';
import {
  connected,
  type Connected,
  expectClosed,
  expectRest,
  failureOf,
  transfer,
  VERSION,
} from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import type { ReceivedCall } from '../../fakes/fakeDaemon.js';
import { BottomlessSource, collector, EndlessSource, pattern } from '../../fakes/files.js';
import { forbidWarnings } from '../../fakes/warnings.js';

const uploadRequest = { remotefilename: '/to', progress_hint: undefined };
const downloadRequest = { remotefilename: '/from' };

function reasonOf(error: unknown): string | undefined {
  return error instanceof GuestfsError ? error.reason : undefined;
}

forbidWarnings();

describe('an upload that this side cancels', () => {
  const cause = new GuestfsError('EINTR', 'cancelled by the test');

  it('by its signal, between two pieces, sends the cancel chunk and waits for the reply', async () => {
    const both = await connected();
    const cancel = new AbortController();
    const answer = failureOf(
      both.connection.upload(
        upload,
        uploadRequest,
        VERSION,
        new EndlessSource([pattern(8192)]),
        transfer(cancel.signal),
      ),
    );
    const call = await both.daemon.nextCall();
    expect(await both.daemon.nextPiece()).toMatchObject({ cancel: false });
    cancel.abort(cause);
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'chunk', cancel: true, data: Buffer.alloc(0) });
    let ended = false;
    void answer.then(() => {
      ended = true;
    });
    await quiet();
    expect(ended).toBe(false);
    await both.daemon.fail(call, 'EIO', 'the daemon says less than the cause');
    expect(await answer).toBe(cause);
    await expectRest(both);
  });

  it('by its signal, while the source yields nothing', async () => {
    const both = await connected();
    const cancel = new AbortController();
    const source = new EndlessSource([]);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer(cancel.signal)));
    const call = await both.daemon.nextCall();
    await quiet();
    cancel.abort(cause);
    expect((await both.daemon.nextFile()).cancelled).toBe(true);
    await both.daemon.fail(call, '', 'cancelled');
    expect(await answer).toBe(cause);
    expect(source.returned).toBe(true);
    await expectRest(both);
  });

  it('by its signal, aborted from the start', async () => {
    const both = await connected();
    const source = new BottomlessSource(8192);
    const answer = failureOf(
      both.connection.upload(upload, uploadRequest, VERSION, source, transfer(AbortSignal.abort(cause))),
    );
    const call = await both.daemon.nextCall();
    expect(await both.daemon.nextFile()).toEqual({ data: Buffer.alloc(0), cancelled: true });
    await both.daemon.fail(call, '', 'cancelled');
    expect(await answer).toBe(cause);
    expect(source.taken).toBe(0);
    await expectRest(both);
  });

  it('by its signal, while the daemon does not read', async () => {
    const both = await connected();
    const cancel = new AbortController();
    const answer = failureOf(
      both.connection.upload(upload, uploadRequest, VERSION, new BottomlessSource(8192), transfer(cancel.signal)),
    );
    await quiet();
    cancel.abort(cause);
    await quiet();
    const call = await both.daemon.nextCall();
    expect((await both.daemon.nextFile()).cancelled).toBe(true);
    await both.daemon.fail(call, '', 'cancelled');
    expect(await answer).toBe(cause);
    await expectRest(both);
  });

  it('because its source throws', async () => {
    const both = await connected();
    const source = async function* (): AsyncGenerator<Buffer> {
      yield pattern(100);
      throw cause;
    };
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source(), transfer()));
    const call = await both.daemon.nextCall();
    expect(await both.daemon.nextFile()).toEqual({ data: pattern(100), cancelled: true });
    await both.daemon.fail(call, '', 'cancelled');
    expect(await answer).toBe(cause);
    await expectRest(both);
  });

  it('and that the daemon answers with success fails nevertheless', async () => {
    const both = await connected();
    const answer = failureOf(
      both.connection.upload(upload, uploadRequest, VERSION, new EndlessSource([]), transfer(AbortSignal.abort(cause))),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.nextFile();
    await both.daemon.reply(call);
    expect(await answer).toBe(cause);
    await expectRest(both);
  });

  it('and that the daemon cancels at the same time ends once', async () => {
    const both = await connected();
    const cancel = new AbortController();
    const answer = failureOf(
      both.connection.upload(upload, uploadRequest, VERSION, new EndlessSource([pattern(10)]), transfer(cancel.signal)),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.nextPiece();
    const flag = both.daemon.cancelFlag();
    cancel.abort(cause);
    await flag;
    expect((await both.daemon.nextFile()).cancelled).toBe(true);
    await both.daemon.fail(call, 'ENOSPC', 'full');
    expect([cause.reason, 'ENOSPC']).toContain(reasonOf(await answer));
    await expectRest(both);
  });

  it('and that the daemon answers with something other than its reply closes the connection', async () => {
    const both = await connected();
    const answer = failureOf(
      both.connection.upload(upload, uploadRequest, VERSION, new EndlessSource([]), transfer(AbortSignal.abort(cause))),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.nextFile();
    await both.daemon.reply(call, undefined, { serial: call.serial + 1 });
    expect(await answer).toMatchObject({ reason: 'PROTOCOL_ERROR' });
    await expectClosed(both, 'PROTOCOL_ERROR');
  });
});

describe('a download that this side cancels (cancellation-download-librarycancels)', () => {
  const cause = new GuestfsError('CANCELLED', 'the client is gone');

  /** A download of which two chunks were sent. */
  async function begun(
    deliver: (pieces: readonly Buffer[]) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<Connected & { readonly answer: Promise<unknown>; readonly call: ReceivedCall }> {
    const both = await connected();
    const answer = failureOf(both.connection.download(download, downloadRequest, VERSION, deliver, transfer(signal)));
    const call = await both.daemon.nextCall();
    await both.daemon.reply(call);
    await both.daemon.chunk(pattern(8192));
    return { ...both, answer, call };
  }

  it('because it is not consumed: the flag is sent, later data is dropped, and the cancel chunk ends it', async () => {
    let deliveries = 0;
    const both = await begun(async () => {
      deliveries += 1;
      throw cause;
    });
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    for (let count = 0; count < 100; count += 1) await both.daemon.chunk(pattern(8192));
    await both.daemon.cancelChunk();
    expect(await both.answer).toBe(cause);
    expect(deliveries).toBe(1);
    await expectRest(both);
  });

  describe('because it knows that nothing more will arrive', () => {
    it('ends at once, without a message to the daemon', async () => {
      const both = await begun(async () => {
        throw new NothingMoreComes(cause);
      });
      expect(await both.answer).toBe(cause);
      await expectRest(both);
    });

    it('and is mistaken: the connection is closed', async () => {
      const both = await begun(async () => {
        throw new NothingMoreComes(cause);
      });
      expect(await both.answer).toBe(cause);
      await both.daemon.chunk(pattern(8192));
      await expectClosed(both, 'PROTOCOL_ERROR');
    });
  });

  it.each([
    ['with the first', false],
    ['when all is at rest', true],
  ])('and that the daemon cancels twice, the second time %s', async (_when, late) => {
    const both = await begun(async () => {
      throw cause;
    });
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    const first = both.daemon.cancelChunk();
    if (late) expect(await both.answer).toBe(cause);
    await Promise.all([first, both.daemon.cancelChunk()]);
    expect(await both.answer).toBe(cause);
    await expectRest(both);
  });

  it('and that the daemon cancels three times closes the connection', async () => {
    const both = await begun(async () => {
      throw cause;
    });
    for (let count = 0; count < 3; count += 1) await both.daemon.cancelChunk();
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('and that the daemon sent completely before it saw the flag', async () => {
    const both = await begun(async () => {
      throw cause;
    });
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    await both.daemon.lastChunk();
    expect(await both.answer).toBe(cause);
    await expectRest(both);
  });

  it('by its signal, while chunks arrive', async () => {
    const cancel = new AbortController();
    const both = await begun(async () => cancel.abort(cause), cancel.signal);
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    await both.daemon.chunk(pattern(10));
    await both.daemon.cancelChunk();
    expect(await both.answer).toBe(cause);
    await expectRest(both);
  });

  it('by its signal, while the daemon is silent: the flag is sent at once', async () => {
    const cancel = new AbortController();
    const collected = collector();
    const both = await begun(collected.deliver, cancel.signal);
    await quiet();
    expect(collected.sizes).toEqual([8192]);
    cancel.abort(cause);
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    await both.daemon.cancelChunk();
    expect(await both.answer).toBe(cause);
    await expectRest(both);
  });

  it('by its signal, while the delivered data is not consumed: the session does not wait for that', async () => {
    const cancel = new AbortController();
    const both = await begun(() => new Promise<never>(() => undefined), cancel.signal);
    await quiet();
    cancel.abort(cause);
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    await both.daemon.cancelChunk();
    expect(await both.answer).toBe(cause);
    await expectRest(both);
  });

  it('by its signal, before the reply: the flag is sent after it', async () => {
    const cancel = new AbortController();
    const both = await connected();
    const collected = collector();
    const answer = failureOf(
      both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer(cancel.signal)),
    );
    const call = await both.daemon.nextCall();
    cancel.abort(cause);
    await quiet();
    await both.daemon.reply(call);
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    await both.daemon.chunk(pattern(10));
    await both.daemon.cancelChunk();
    expect(await answer).toBe(cause);
    expect(collected.sizes).toEqual([]);
    await expectRest(both);
  });

  it('twice sends one flag', async () => {
    const cancel = new AbortController();
    const both = await begun(async () => {
      throw cause;
    }, cancel.signal);
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    cancel.abort(new Error('a later reason'));
    await both.daemon.cancelChunk();
    expect(await both.answer).toBe(cause);
    await expectRest(both); // a second flag would be taken for the next request
  });

  it('without a reason fails as cancelled', async () => {
    const both = await begun(async () => {
      const nothing: unknown = undefined;
      throw nothing;
    });
    await both.daemon.nextPiece();
    await both.daemon.cancelChunk();
    expect(await both.answer).toMatchObject({ reason: 'CANCELLED' });
    await expectRest(both);
  });

  it('after it ended sends nothing, whatever its signal does', async () => {
    const cancel = new AbortController();
    const both = await connected();
    const answer = both.connection.download(
      download,
      downloadRequest,
      VERSION,
      collector().deliver,
      transfer(cancel.signal),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.lastChunk();
    await answer;
    cancel.abort(cause);
    await quiet();
    expect(both.daemon.unreadBytes).toBe(0);
    await expectRest(both);
  });
});

/**
 * Daemons that break the protocol, and appliances that end: the connection is closed, and each
 * call says whether it may have had an effect.
 */
import { describe, expect, it } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { internalAutosync, internalWrite } from '../../../gen/calls/internal.js';
import { download, upload } from '../../../gen/calls/transfer.js';
import { DaemonConnection } from '../../../src/protocol/daemonConnection.js';
import { connected, expectClosed, failureOf, transfer, VERSION } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeDaemon, type ReceivedCall } from '../../fakes/fakeDaemon.js';
import { BottomlessSource, collector, EndlessSource, pattern } from '../../fakes/files.js';
import { forbidWarnings } from '../../fakes/warnings.js';
import { word } from '../../fakes/xdrBytes.js';

const MEBIBYTE = 1024 * 1024;
const uploadRequest = { remotefilename: '/to', progress_hint: undefined };
const downloadRequest = { remotefilename: '/from' };

forbidWarnings();

describe('a daemon that breaks the protocol', () => {
  const request = { path: '/', followsymlinks: undefined };

  it.each([
    ['one byte at a time', 1],
    ['whole', undefined],
  ])('with a message while no call is in progress, %s', async (_how, split) => {
    const both = await connected(split);
    await both.daemon.write(FakeDaemon.messageBytes(Buffer.alloc(40))).catch(() => undefined);
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('with a message right after its reply: the reply counts, and the connection ends', async () => {
    const both = await connected();
    const answer = both.connection.call(isDir, request, VERSION);
    const call = await both.daemon.nextCall();
    await both.daemon.write(
      FakeDaemon.replyBytes(call, word(1)),
      FakeDaemon.replyBytes({ ...call, serial: call.serial + 1 }, word(0)),
    );
    expect(await answer).toEqual({ dirflag: true });
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('with a chunk after the last one', async () => {
    const both = await connected();
    const answer = both.connection.download(download, downloadRequest, VERSION, collector().deliver, transfer());
    const call = await both.daemon.nextCall();
    await both.daemon.write(
      FakeDaemon.replyBytes(call),
      FakeDaemon.chunkBytes(Buffer.alloc(0)),
      FakeDaemon.chunkBytes(pattern(1)),
    );
    await answer;
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('with a second launch flag while no call is in progress', async () => {
    const both = await connected();
    await both.daemon.launch();
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('with a second launch flag in the middle of a call', async () => {
    const both = await connected();
    const answer = failureOf(both.connection.call(isDir, request, VERSION));
    await both.daemon.nextCall();
    await both.daemon.launch();
    expect(await answer).toMatchObject({
      reason: 'PROTOCOL_ERROR',
      message: expect.stringContaining('a second launch flag'),
    });
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('with a message before it is up', async () => {
    const daemon = new FakeDaemon();
    const connection = new DaemonConnection(daemon.channel, { onProgress: () => undefined });
    const up = failureOf(connection.awaitLaunch());
    await daemon.write(FakeDaemon.messageBytes(Buffer.alloc(40)), word(0xf5f55ff5));
    expect(await up).toMatchObject({
      reason: 'PROTOCOL_ERROR',
      message: expect.stringContaining('before the launch flag'),
    });
  });

  it.each<[string, (call: ReceivedCall) => Buffer]>([
    ['the serial number of another call', (call) => FakeDaemon.replyBytes(call, word(1), { serial: call.serial + 1 })],
    ['the procedure of another call', (call) => FakeDaemon.replyBytes(call, word(1), { procedure: 1 })],
    ['another program', (call) => FakeDaemon.replyBytes(call, word(1), { program: 1 })],
    ['another version of the protocol', (call) => FakeDaemon.replyBytes(call, word(1), { version: 3 })],
    ['the direction of a call', (call) => FakeDaemon.replyBytes(call, word(1), { direction: 0 })],
    ['an unknown status', (call) => FakeDaemon.replyBytes(call, word(1), { status: 7 })],
    ['a boolean that is neither', (call) => FakeDaemon.replyBytes(call, word(2))],
    ['bytes too many', (call) => FakeDaemon.replyBytes(call, Buffer.alloc(8))],
    ['bytes too few', (call) => FakeDaemon.replyBytes(call)],
    ['no header', () => word(0)],
    ['a length over the limit', () => word(4 * MEBIBYTE + 1)],
  ])('with a reply that has %s', async (_what, bytes) => {
    const both = await connected();
    const answer = failureOf(both.connection.call(isDir, request, VERSION));
    const call = await both.daemon.nextCall();
    await both.daemon.write(bytes(call)).catch(() => undefined);
    expect(await answer).toMatchObject({
      reason: 'PROTOCOL_ERROR',
      message: expect.stringContaining('the appliance violated the protocol'),
    });
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it.each([
    ['no chunk but a message', Buffer.alloc(3)],
    ['a chunk with a wrong cancel word', Buffer.concat([word(2), word(0)])],
    ['a chunk that is too long', Buffer.concat([word(0), word(8196), Buffer.alloc(8196)])],
  ])('with %s in a download', async (_what, bytes) => {
    const both = await connected();
    const answer = failureOf(
      both.connection.download(download, downloadRequest, VERSION, collector().deliver, transfer()),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.write(FakeDaemon.messageBytes(bytes));
    expect(await answer).toMatchObject({ reason: 'PROTOCOL_ERROR' });
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('in the middle of an upload whose source yields nothing', async () => {
    const both = await connected();
    const source = new EndlessSource([pattern(5)]);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    await both.daemon.nextCall();
    await both.daemon.nextPiece();
    await both.daemon.launch();
    expect(await answer).toMatchObject({ reason: 'PROTOCOL_ERROR' });
    expect(source.returned).toBe(true);
    await expectClosed(both, 'PROTOCOL_ERROR');
  });
});

describe('an appliance that ends', () => {
  const request = { path: '/', followsymlinks: undefined };

  it('before it is up', async () => {
    const daemon = new FakeDaemon();
    const connection = new DaemonConnection(daemon.channel, { onProgress: () => undefined });
    const up = failureOf(connection.awaitLaunch());
    daemon.die();
    expect(await up).toMatchObject({ reason: 'APPLIANCE_GONE' });
    expect(await failureOf(connection.awaitLaunch())).toMatchObject({ reason: 'APPLIANCE_GONE' });
  });

  it('before the connection is created: it is closed from the start', async () => {
    const daemon = new FakeDaemon();
    daemon.channel.destroy();
    await quiet();
    const connection = new DaemonConnection(daemon.channel, { onProgress: () => undefined });
    await connection.closed;
    expect(await failureOf(connection.awaitLaunch())).toMatchObject({ reason: 'APPLIANCE_GONE' });
  });

  it('before a call is sent: the call never happened (APPLIANCE_GONE)', async () => {
    const both = await connected();
    both.daemon.die();
    await both.connection.closed;
    const sent: number[] = [];
    const failure = await failureOf(
      both.connection.call(isDir, request, VERSION, { onSent: (serial) => sent.push(serial) }),
    );
    expect(failure).toMatchObject({ reason: 'APPLIANCE_GONE' });
    expect(sent).toEqual([]);
    await expectClosed(both, 'APPLIANCE_GONE');
  });

  it('in the middle of a call: the outcome is unknown (qemudie-midcommand)', async () => {
    const both = await connected();
    const answer = failureOf(both.connection.call(isDir, request, VERSION));
    await both.daemon.nextCall();
    both.daemon.die();
    expect(await answer).toMatchObject({
      reason: 'OUTCOME_UNKNOWN',
      details: { cause: expect.objectContaining({ reason: 'APPLIANCE_GONE' }) },
    });
    await expectClosed(both, 'APPLIANCE_GONE');
  });

  it('in the middle of its reply', async () => {
    const both = await connected();
    const answer = failureOf(both.connection.call(isDir, request, VERSION));
    const call = await both.daemon.nextCall();
    await both.daemon.write(FakeDaemon.replyBytes(call, word(1)).subarray(0, -1));
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
  });

  it('right after its reply: the reply counts', async () => {
    const both = await connected();
    const answer = both.connection.call(isDir, request, VERSION);
    await both.daemon.reply(await both.daemon.nextCall(), word(1));
    both.daemon.die();
    expect(await answer).toEqual({ dirflag: true });
  });

  it('in an upload, while the source yields nothing', async () => {
    const both = await connected();
    const source = new EndlessSource([pattern(5)]);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    await both.daemon.nextCall();
    await both.daemon.nextPiece();
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(source.returned).toBe(true);
    await expectClosed(both, 'APPLIANCE_GONE');
  });

  it('in an upload that waits for it to read', async () => {
    const both = await connected();
    const answer = failureOf(
      both.connection.upload(upload, uploadRequest, VERSION, new BottomlessSource(8192), transfer()),
    );
    await quiet();
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    await expectClosed(both, 'APPLIANCE_GONE');
  });

  it('in a request that waits for it to read', async () => {
    const both = await connected();
    const answer = failureOf(
      both.connection.call(internalWrite, { path: '/a', content: Buffer.alloc(MEBIBYTE) }, VERSION),
    );
    await quiet();
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
  });

  it('in a download: the data so far is delivered, and the call fails', async () => {
    const both = await connected();
    const collected = collector();
    const answer = failureOf(
      both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer()),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.chunk(pattern(9));
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(collected.data()).toEqual(pattern(9));
  });

  it('in a download that is not consumed', async () => {
    const both = await connected();
    const answer = failureOf(
      both.connection.download(
        download,
        downloadRequest,
        VERSION,
        () => new Promise<never>(() => undefined),
        transfer(),
      ),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.chunk(pattern(9));
    await quiet();
    both.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
  });

  it('because it is closed here, in the middle of a call (qemudie-killsub)', async () => {
    const both = await connected();
    const answer = failureOf(both.connection.call(isDir, request, VERSION));
    await both.daemon.nextCall();
    both.connection.close();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    await expectClosed(both, 'APPLIANCE_GONE');
  });

  it('with an error of the channel', async () => {
    const both = await connected();
    const answer = failureOf(both.connection.call(internalAutosync, {}, VERSION));
    await both.daemon.nextCall();
    both.daemon.channel.destroy(new Error('read ECONNRESET'));
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(both.connection.failure).toMatchObject({
      reason: 'APPLIANCE_GONE',
      details: { cause: expect.objectContaining({ message: 'read ECONNRESET' }) },
    });
  });

  it('after it broke the protocol: a later call was never sent', async () => {
    const both = await connected();
    await both.daemon.launch();
    await both.connection.closed;
    expect(both.connection.failure?.reason).toBe('PROTOCOL_ERROR');
    expect(await failureOf(both.connection.call(isDir, request, VERSION))).toMatchObject({ reason: 'APPLIANCE_GONE' });
  });
});

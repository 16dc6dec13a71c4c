/**
 * Drills of the conversation with a daemon: every way in which a call can end, with the
 * conversation at rest afterwards or the connection closed. Where upstream has a drill in
 * tests/protocol, its name is kept.
 */
import { describe, expect, it } from '@jest/globals';
import { pingDaemon } from '../../../gen/calls/appliance.js';
import { isDir } from '../../../gen/calls/file.js';
import { yaraLoad } from '../../../gen/calls/forensics.js';
import { internalAutosync, internalWrite } from '../../../gen/calls/internal.js';
import { download, upload } from '../../../gen/calls/transfer.js';
import { connected, expectClosed, expectRest, failureOf, transfer, VERSION } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeDaemon } from '../../fakes/fakeDaemon.js';
import { BottomlessSource, collector, cut, EndlessSource, pattern, pieces } from '../../fakes/files.js';
import { forbidWarnings } from '../../fakes/warnings.js';
import { text, word } from '../../fakes/xdrBytes.js';

const MEBIBYTE = 1024 * 1024;
const uploadRequest = { remotefilename: '/to', progress_hint: undefined };
const downloadRequest = { remotefilename: '/from' };

forbidWarnings();

describe.each([
  ['whole', undefined],
  ['in pieces of 7 bytes', 7],
  ['one byte at a time', 1],
])('a daemon whose bytes come %s', (_how, split) => {
  it('answers calls, each with a serial number of its own', async () => {
    const { daemon, connection } = await connected(split);
    const serials: number[] = [];
    for (let round = 1; round <= 3; round += 1) {
      const answer = connection.call(isDir, { path: `/${round}`, followsymlinks: undefined }, VERSION);
      const call = await daemon.nextCall();
      expect(call).toMatchObject({
        program: 0x2000f5f5,
        version: 4,
        procedure: isDir.procedure,
        direction: 0,
        status: 0,
        progressHint: 0n,
        optionalArguments: 0n,
      });
      expect(call.body.subarray(0, 8)).toEqual(text(`/${round}`));
      serials.push(call.serial);
      await daemon.reply(call, word(round % 2));
      expect(await answer).toEqual({ dirflag: round % 2 === 1 });
    }
    expect(new Set(serials).size).toBe(3);
  });

  it('answers a call with an error, and the next with a value', async () => {
    const both = await connected(split);
    const answer = failureOf(both.connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION));
    await both.daemon.fail(await both.daemon.nextCall(), 'ENOENT', '/: no such file');
    expect(await answer).toMatchObject({ reason: 'ENOENT', message: '/: no such file' });
    await expectRest(both);
  });

  it('takes an upload whole', async () => {
    const both = await connected(split);
    const data = pattern(20_001);
    const answer = both.connection.upload(
      upload,
      uploadRequest,
      VERSION,
      pieces(data.subarray(0, 1), data.subarray(1, 9000), Buffer.alloc(0), data.subarray(9000)),
      transfer(),
    );
    const call = await both.daemon.nextCall();
    const file = await both.daemon.nextFile();
    expect(file.cancelled).toBe(false);
    expect(file.data.equals(data)).toBe(true);
    await both.daemon.reply(call);
    expect(await answer).toEqual({});
    await expectRest(both);
  });

  it('takes an empty upload', async () => {
    const both = await connected(split);
    const answer = both.connection.upload(upload, uploadRequest, VERSION, pieces(), transfer());
    const call = await both.daemon.nextCall();
    expect(await both.daemon.nextFile()).toEqual({ data: Buffer.alloc(0), cancelled: false });
    await both.daemon.reply(call);
    await answer;
    await expectRest(both);
  });

  it('sends a download whole', async () => {
    const both = await connected(split);
    const data = pattern(40_000);
    const collected = collector();
    const answer = both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer());
    await both.daemon.reply(await both.daemon.nextCall());
    for (const piece of cut(data)) await both.daemon.chunk(piece);
    await both.daemon.lastChunk();
    await answer;
    expect(collected.data().equals(data)).toBe(true);
    await expectRest(both);
  });

  it('sends an empty download', async () => {
    const both = await connected(split);
    const collected = collector();
    const answer = both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer());
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.lastChunk();
    await answer;
    expect(collected.sizes).toEqual([]);
    await expectRest(both);
  });

  it('reports progress at any moment: before a reply, among the chunks of an upload, among those of a download', async () => {
    const both = await connected(split);
    const { daemon, connection, progress } = both;
    const first = connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION);
    const call = await daemon.nextCall();
    await daemon.progress(call, 1n, 2n);
    await daemon.write(FakeDaemon.progressBytes(call, 2n, 2n), FakeDaemon.replyBytes(call, word(0)));
    await first;

    const second = connection.upload(upload, uploadRequest, VERSION, pieces(pattern(8192), pattern(8192)), transfer());
    const uploading = await daemon.nextCall();
    await daemon.nextPiece();
    await daemon.progress(uploading, 8192n, 0n);
    await daemon.nextFile();
    await daemon.progress(uploading, 16384n, 0n);
    await daemon.reply(uploading);
    await second;

    const collected = collector();
    const third = connection.download(download, downloadRequest, VERSION, collected.deliver, transfer());
    const downloading = await daemon.nextCall();
    await daemon.write(
      FakeDaemon.replyBytes(downloading),
      FakeDaemon.chunkBytes(pattern(5)),
      FakeDaemon.progressBytes(downloading, 5n, 10n),
      FakeDaemon.chunkBytes(pattern(5, 1)),
    );
    await daemon.write(FakeDaemon.progressBytes(downloading, 10n, 10n), FakeDaemon.chunkBytes(Buffer.alloc(0)));
    await third;

    expect(progress.map(({ procedure, position, total }) => [procedure, position, total])).toEqual([
      [isDir.procedure, 1n, 2n],
      [isDir.procedure, 2n, 2n],
      [66, 8192n, 0n],
      [66, 16384n, 0n],
      [67, 5n, 10n],
      [67, 10n, 10n],
    ]);
    expect(collected.data()).toEqual(Buffer.concat([pattern(5), pattern(5, 1)]));
    await expectRest(both);
  });

  it('ends an upload by its flag in the middle (cancellation-upload-daemoncancels)', async () => {
    const both = await connected(split);
    const { daemon, connection } = both;
    const source = new EndlessSource([pattern(8192), pattern(100)]);
    const answer = failureOf(connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    const call = await daemon.nextCall();
    await daemon.nextPiece();
    await daemon.cancelFlag();
    expect((await daemon.nextFile()).cancelled).toBe(true);
    await daemon.fail(call, 'ENOSPC', 'write: /to: No space left on device');
    expect(await answer).toMatchObject({ reason: 'ENOSPC', message: 'write: /to: No space left on device' });
    expect(source.returned).toBe(true);
    await expectRest(both);
  });

  it('ends an upload by an answer before the first chunk, and the conversation goes on', async () => {
    const both = await connected(split);
    const source = new EndlessSource([]);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    const call = await both.daemon.nextCall();
    await both.daemon.fail(call, 'EINVAL', '/to: offset in file is negative');
    expect(await answer).toMatchObject({ reason: 'EINVAL', message: '/to: offset in file is negative' });
    expect(source.returned).toBe(true);
    await expectRest(both);
  });

  it('ends an upload by an answer in its middle: the call has the answer, and the connection is closed', async () => {
    const both = await connected(split);
    const source = new EndlessSource([pattern(100)]);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    const call = await both.daemon.nextCall();
    await both.daemon.nextPiece();
    await both.daemon.fail(call, 'EINVAL', 'unknown compression type');
    expect(await answer).toMatchObject({
      reason: 'EINVAL',
      message: expect.stringMatching(/^unknown compression type; the appliance violated the protocol .*stopped$/),
    });
    expect(source.returned).toBe(true);
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('ends an upload by an answer while it reads no more: nothing hangs', async () => {
    const both = await connected(split);
    const source = new BottomlessSource(65536);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    const call = await both.daemon.nextCall();
    await quiet();
    const { taken } = source;
    await quiet();
    expect(source.taken).toBe(taken);
    await both.daemon.fail(call, 'EINVAL', 'no');
    expect(await answer).toMatchObject({ reason: 'EINVAL' });
    await both.connection.closed;
  });

  it('ends an upload by its flag before the first chunk', async () => {
    const both = await connected(split);
    const source = new EndlessSource([]);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, source, transfer()));
    const call = await both.daemon.nextCall();
    await both.daemon.cancelFlag();
    expect(await both.daemon.nextFile()).toEqual({ data: Buffer.alloc(0), cancelled: true });
    await both.daemon.fail(call, 'EROFS', 'open: /to');
    expect(await answer).toMatchObject({ reason: 'EROFS' });
    await expectRest(both);
  });

  it('refuses an upload by its flag after the last chunk, just before its reply', async () => {
    const both = await connected(split);
    const answer = failureOf(both.connection.upload(upload, uploadRequest, VERSION, pieces(pattern(10)), transfer()));
    const call = await both.daemon.nextCall();
    expect((await both.daemon.nextFile()).cancelled).toBe(false);
    await both.daemon.cancelFlag();
    await both.daemon.fail(call, 'ENOSPC', 'close: /to');
    expect(await answer).toMatchObject({ reason: 'ENOSPC' });
    await expectRest(both);
  });

  it.each(['answer', 'error', 'nothing'])(
    'takes an upload that it may not answer, and answers what follows: %s',
    async (reply) => {
      const both = await connected(split);
      const answer = both.connection.upload(yaraLoad, { progress_hint: undefined }, VERSION, pieces(pattern(10)), {
        ...transfer(),
        followUp: pingDaemon,
      });
      const ended = answer.then(
        () => 'an answer',
        (error: unknown) => error,
      );
      const call = await both.daemon.nextCall();
      expect((await both.daemon.nextFile()).cancelled).toBe(false);
      const following = await both.daemon.nextCall();
      expect(following).toMatchObject({ procedure: pingDaemon.procedure, serial: call.serial + 1 });
      if (reply === 'answer') await both.daemon.reply(call);
      if (reply === 'error') await both.daemon.fail(call, '', 'found 1 errors when compiling the rules');
      await both.daemon.reply(following);
      const expected = {
        answer: 'an answer',
        error: expect.objectContaining({ reason: 'DAEMON_ERROR', message: 'found 1 errors when compiling the rules' }),
        nothing: expect.objectContaining({
          reason: 'DAEMON_ERROR',
          message: 'yara_load: the daemon refused the file and gave no reason; GetLog may show more',
        }),
      }[reply];
      expect(await ended).toEqual(expected);
      await expectRest(both);
    },
  );

  it('sends a stray cancel flag before a call and before an upload: both work', async () => {
    const both = await connected(split);
    await both.daemon.cancelFlag();
    await expectRest(both);
    await both.daemon.cancelFlag();
    const answer = both.connection.upload(upload, uploadRequest, VERSION, pieces(pattern(10)), transfer());
    const call = await both.daemon.nextCall();
    expect(await both.daemon.nextFile()).toEqual({ data: pattern(10), cancelled: false });
    await both.daemon.reply(call);
    await answer;
    await expectRest(both);
  });

  it('sends a cancel flag just before the reply to a plain call: it is dropped', async () => {
    const both = await connected(split);
    const answer = both.connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION);
    const call = await both.daemon.nextCall();
    await both.daemon.cancelFlag();
    await both.daemon.reply(call, word(1));
    expect(await answer).toEqual({ dirflag: true });
    await expectRest(both);
  });

  it('cancels a download with a cancel chunk: what came is delivered, the call fails', async () => {
    const both = await connected(split);
    const collected = collector();
    const answer = failureOf(
      both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer()),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.chunk(pattern(3));
    await both.daemon.cancelChunk();
    expect(await answer).toMatchObject({
      reason: 'DAEMON_ERROR',
      message: expect.stringContaining('could not send the whole file'),
    });
    expect(collected.data()).toEqual(pattern(3));
    await expectRest(both);
  });

  it('answers a download with an error: there is no file', async () => {
    const both = await connected(split);
    const collected = collector();
    const answer = failureOf(
      both.connection.download(download, downloadRequest, VERSION, collected.deliver, transfer()),
    );
    await both.daemon.fail(await both.daemon.nextCall(), 'ENOENT', '/from');
    expect(await answer).toMatchObject({ reason: 'ENOENT' });
    expect(collected.sizes).toEqual([]);
    await expectRest(both);
  });
});

describe('a request', () => {
  it('over 4 MiB is refused before anything is sent, with the limit in the error', async () => {
    const both = await connected();
    const sent: number[] = [];
    const failure = await failureOf(
      both.connection.call(internalWrite, { path: '/a', content: Buffer.alloc(4 * MEBIBYTE) }, VERSION, {
        onSent: (serial) => sent.push(serial),
      }),
    );
    expect(failure).toMatchObject({ reason: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('4194304') });
    await quiet();
    expect(both.daemon.unreadBytes).toBe(0);
    expect(sent).toEqual([]);
    await expectRest(both);
  });

  it('over 4 MiB of an upload is refused before anything is taken from the source', async () => {
    const both = await connected();
    const source = new BottomlessSource(10);
    const failure = await failureOf(
      both.connection.upload(
        upload,
        { ...uploadRequest, remotefilename: 'x'.repeat(4 * MEBIBYTE) },
        VERSION,
        source,
        transfer(),
      ),
    );
    expect(failure).toMatchObject({ reason: 'MESSAGE_TOO_LARGE' });
    expect(source.taken).toBe(0);
    await expectRest(both);
  });

  it('carries the progress hint in its header, and tells its serial number once it is on its way', async () => {
    const both = await connected();
    const sent: number[] = [];
    const answer = both.connection.upload(upload, uploadRequest, VERSION, pieces(), {
      ...transfer(),
      progressHint: 2n ** 33n + 1n,
      onSent: (serial) => sent.push(serial),
    });
    const call = await both.daemon.nextCall();
    expect(call.progressHint).toBe(2n ** 33n + 1n);
    expect(sent).toEqual([call.serial]);
    await both.daemon.nextFile();
    await both.daemon.reply(call);
    await answer;
  });

  it('is refused while another is under way: that would be a defect of the caller', async () => {
    const both = await connected();
    const first = both.connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION);
    expect(await failureOf(both.connection.call(internalAutosync, {}, VERSION))).toMatchObject({
      message: 'concurrent calls on one connection',
    });
    const call = await both.daemon.nextCall();
    await both.daemon.reply(call, word(1));
    await first;
    await expectRest(both);
  });
});

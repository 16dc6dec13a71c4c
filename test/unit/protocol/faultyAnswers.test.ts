/** Daemons that answer too early, late, twice or never, for each kind of call. Each call ends once; none hangs. */
import { describe, expect, it } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { download, upload } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  connected,
  expectClosed,
  expectRest,
  failureOf,
  transfer,
  VERSION,
  type Connected,
} from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeDaemon } from '../../fakes/fakeDaemon.js';
import { collector, EndlessSource, pattern, pieces } from '../../fakes/files.js';
import { forbidWarnings } from '../../fakes/warnings.js';
import { word } from '../../fakes/xdrBytes.js';

forbidWarnings();

const uploadRequest = { remotefilename: '/to', progress_hint: undefined };
const FILE = pattern(100);

/** A kind of call: how it is made, and what a sound daemon sends in answer to it. */
interface Kind {
  readonly make: (both: Connected, signal?: AbortSignal) => Promise<unknown>;
  /** The daemon receives the call, and its file. */
  readonly receive: (daemon: FakeDaemon) => Promise<Buffer>;
}

const KINDS: Readonly<Record<string, Kind>> = {
  unary: {
    make: ({ connection }) => connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION),
    receive: async (daemon) => FakeDaemon.replyBytes(await daemon.nextCall(), word(1)),
  },
  FileIn: {
    make: ({ connection }, signal) => connection.upload(upload, uploadRequest, VERSION, pieces(FILE), transfer(signal)),
    receive: async (daemon) => {
      const call = await daemon.nextCall();
      await daemon.nextFile();
      return FakeDaemon.replyBytes(call);
    },
  },
  FileOut: {
    make: ({ connection }, signal) =>
      connection.download(download, { remotefilename: '/from' }, VERSION, collector().deliver, transfer(signal)),
    receive: async (daemon) =>
      Buffer.concat([
        FakeDaemon.replyBytes(await daemon.nextCall()),
        FakeDaemon.chunkBytes(FILE),
        FakeDaemon.chunkBytes(Buffer.alloc(0)),
      ]),
  },
};

describe.each(Object.entries(KINDS))('a daemon, in a call of the kind %s,', (_kind, { make, receive }) => {
  it('that answers before it was asked is ended; later calls are not sent', async () => {
    const both = await connected();
    const call = { program: 0, version: 0, procedure: isDir.procedure, direction: 0, serial: 1 };
    await both.daemon
      .write(
        FakeDaemon.replyBytes({ ...call, progressHint: 0n, optionalArguments: 0n, status: 0, body: Buffer.alloc(0) }),
      )
      .catch(() => undefined);
    await quiet();
    expect(await failureOf(make(both))).toMatchObject({ reason: 'APPLIANCE_GONE' });
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('that answers late is waited for', async () => {
    const both = await connected();
    const made = make(both);
    const answer = await receive(both.daemon);
    for (let ticks = 0; ticks < 20; ticks += 1) await quiet();
    await both.daemon.write(answer);
    await made;
    await expectRest(both);
  });

  it('that answers twice is ended; its first answer counts', async () => {
    const both = await connected();
    const made = make(both);
    const answer = await receive(both.daemon);
    await both.daemon.write(answer, answer);
    await made;
    await expectClosed(both, 'PROTOCOL_ERROR');
  });

  it('that never answers keeps its call until the connection is closed, which answers it', async () => {
    const both = await connected();
    let over = false;
    const made = failureOf(make(both)).finally(() => (over = true));
    await receive(both.daemon);
    for (let ticks = 0; ticks < 20; ticks += 1) await quiet();
    expect(over).toBe(false);
    both.connection.close();
    expect(await made).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    await expectClosed(both, 'APPLIANCE_GONE');
  });
});

it('a daemon that sends a file before its reply is ended', async () => {
  const both = await connected();
  const made = failureOf((KINDS['FileOut'] as Kind).make(both));
  await both.daemon.nextCall();
  await both.daemon.chunk(FILE);
  expect(await made).toMatchObject({ reason: 'PROTOCOL_ERROR' });
  await expectClosed(both, 'PROTOCOL_ERROR');
});

it('a daemon that answers a cancelled upload late ends it once, with the reason of its client', async () => {
  const both = await connected();
  const abort = new AbortController();
  const made = failureOf(
    both.connection.upload(upload, uploadRequest, VERSION, new EndlessSource([FILE]), transfer(abort.signal)),
  );
  const call = await both.daemon.nextCall();
  await both.daemon.nextPiece();
  abort.abort(new GuestfsError('CANCELLED', 'the client has gone'));
  expect((await both.daemon.nextFile()).cancelled).toBe(true);
  for (let ticks = 0; ticks < 20; ticks += 1) await quiet();
  await both.daemon.reply(call);
  expect(await made).toMatchObject({ reason: 'CANCELLED', message: 'the client has gone' });
  await expectRest(both);
});

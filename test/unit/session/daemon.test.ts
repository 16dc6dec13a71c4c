/** Calls to the daemon in a turn, and what daemons of other versions lack. */
import { describe, expect, it } from '@jest/globals';
import { setfiles } from '../../../gen/calls/attribute.js';
import { initrdCat } from '../../../gen/calls/boot.js';
import { command } from '../../../gen/calls/command.js';
import { preadDevice } from '../../../gen/calls/device.js';
import { findfsPartuuid } from '../../../gen/calls/filesystem.js';
import { isDir, mkdir, pread, readdirUntil148, statvfs } from '../../../gen/calls/file.js';
import { daemonCalls } from '../../../gen/calls/index.js';
import { e2fsck } from '../../../gen/calls/filesystem.js';
import { vgmeta } from '../../../gen/calls/lvm.js';
import { download, upload } from '../../../gen/calls/transfer.js';
import { xfsInfo } from '../../../gen/calls/xfs.js';
import { allActions } from '../../../src/actions/areas.js';
import { GuestfsError } from '../../../src/common/errors.js';
import type { AnyDaemonCall } from '../../../src/protocol/daemonCall.js';
import { DaemonVersion } from '../../../src/protocol/daemonVersion.js';
import { daemonOn, type Daemon } from '../../../src/session/daemon.js';
import { connected, failureOf, type Connected } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { collector, pattern, pieces } from '../../fakes/files.js';
import { forbidWarnings } from '../../fakes/warnings.js';
import { word } from '../../fakes/xdrBytes.js';

forbidWarnings();

interface Turn extends Connected {
  readonly turn: Daemon;
  /** The calls that were sent. */
  readonly sent: readonly (readonly [string, number, number])[];
}

async function turnOn(version: string, signal: AbortSignal = new AbortController().signal): Promise<Turn> {
  const both = await connected();
  const sent: [string, number, number][] = [];
  const turn = daemonOn(
    both.connection,
    new DaemonVersion(version),
    signal,
    (...call) => sent.push(call),
    (message) => {
      throw new Error(message);
    },
  );
  return { ...both, turn, sent };
}

const isDirRequest = { path: '/', followsymlinks: undefined };
const e2fsckRequest = { device: '/dev/sda1', correct: undefined, forceall: undefined, forceno: undefined };
const setfilesRequest = { specfile: '/contexts', paths: ['/etc'], force: undefined, excludes: undefined };

describe('a turn', () => {
  it('calls, uploads and downloads, and reports each sent call', async () => {
    const { turn, daemon, sent } = await turnOn('1.54.1');
    const one = turn.call(isDir, isDirRequest);
    const first = await daemon.nextCall();
    await daemon.reply(first, word(1));
    expect(await one).toEqual({ dirflag: true });

    const two = turn.upload(upload, { remotefilename: '/a', progress_hint: undefined }, pieces(pattern(10)), 10n);
    const second = await daemon.nextCall();
    expect(second.progressHint).toBe(10n);
    expect((await daemon.nextFile()).data).toEqual(pattern(10));
    await daemon.reply(second);
    await two;

    const collected = collector();
    const three = turn.download(download, { remotefilename: '/a' }, collected.deliver);
    const third = await daemon.nextCall();
    await daemon.reply(third);
    await daemon.chunk(pattern(10));
    await daemon.lastChunk();
    await three;
    expect(collected.data()).toEqual(pattern(10));

    expect(sent).toEqual([
      ['is_dir', isDir.procedure, first.serial],
      ['upload', upload.procedure, second.serial],
      ['download', download.procedure, third.serial],
    ]);
  });

  it('sends an upload of unknown size without a progress hint', async () => {
    const { turn, daemon } = await turnOn('1.54.1');
    const answer = turn.upload(upload, { remotefilename: '/a', progress_hint: undefined }, pieces());
    const call = await daemon.nextCall();
    expect(call.progressHint).toBe(0n);
    await daemon.nextFile();
    await daemon.reply(call);
    await answer;
  });

  it.each(allActions.filter(({ afterwards }) => afterwards === 'is it writable').map(({ name }) => name))(
    'that has mounted by %s asks whether it was as asked',
    async (name) => {
      const { turn, daemon } = await turnOn('1.54.1');
      const request = { mountable: '/dev/sda1', mountpoint: '/', options: '', vfstype: 'ntfs' };
      const call = Object.values(daemonCalls).find(({ action }) => action === name) as AnyDaemonCall;
      const answer = turn.call(call, request);
      await daemon.reply(await daemon.nextCall());
      const question = await daemon.nextCall();
      expect(question.procedure).toBe(statvfs.procedure);
      await daemon.fail(question, 'ENOSYS', 'no answer');
      await answer;
    },
  );

  it('that has ended sends nothing more', async () => {
    const reason = new GuestfsError('CANCELLED', 'over');
    const { turn, daemon, sent } = await turnOn('1.54.1', AbortSignal.abort(reason));
    expect(await failureOf(turn.call(isDir, isDirRequest))).toBe(reason);
    expect(await failureOf(turn.upload(upload, { remotefilename: '/a', progress_hint: undefined }, pieces()))).toBe(
      reason,
    );
    expect(await failureOf(turn.download(download, { remotefilename: '/a' }, collector().deliver))).toBe(reason);
    await quiet();
    expect(daemon.unreadBytes).toBe(0);
    expect(sent).toEqual([]);
  });
});

describe('a daemon of an older version', () => {
  it('gets an action only from the version that has it', async () => {
    const { turn, daemon } = await turnOn('1.53.5');
    const answer = failureOf(turn.call(findfsPartuuid, { uuid: 'x' }));
    await daemon.fail(await daemon.nextCall(), '', 'findfs: unable to resolve');
    expect(await answer).toMatchObject({ reason: 'DAEMON_ERROR', message: 'findfs: unable to resolve' });
  });

  it('gets the action without a newer argument, in its own form', async () => {
    const { turn, daemon } = await turnOn('1.54.1');
    const answer = turn.call(e2fsck, { ...e2fsckRequest, correct: true });
    const call = await daemon.nextCall();
    expect(call.optionalArguments).toBe(1n);
    expect(call.body).toHaveLength(4 + 12 + 2 * 4);
    await daemon.reply(call);
    await answer;

    const other = await turnOn('1.57.1');
    const relabelled = other.turn.call(setfiles, { ...setfilesRequest, force: true });
    const second = await other.daemon.nextCall();
    expect(second.optionalArguments).toBe(1n);
    expect(second.body).toHaveLength(4 + 12 + (4 + 4 + 4) + 4);
    await other.daemon.reply(second);
    await relabelled;
  });

  it('gets the older form of an action', async () => {
    const { turn, daemon } = await turnOn('1.48.6');
    const answer = turn.call(readdirUntil148, { dir: '/' });
    const call = await daemon.nextCall();
    expect(call.procedure).toBe(138);
    await daemon.reply(call, word(0));
    expect(await answer).toEqual({ entries: [] });
  });
});

describe('what a daemon lacks', () => {
  it('an optional group is named', async () => {
    const { turn, daemon } = await turnOn('1.48.6');
    const answer = failureOf(turn.call(xfsInfo, { pathordevice: '/' }));
    await daemon.fail(
      await daemon.nextCall(),
      'ENOTSUP',
      "feature 'xfs' is not available in this\nbuild of libguestfs.  Read 'AVAILABILITY' in the guestfs(3) man page for\nhow to check for the availability of features.",
    );
    expect(await answer).toMatchObject({
      reason: 'ENOTSUP',
      message: expect.stringContaining(
        'xfs_info needs the optional group xfs, which the daemon in this appliance (1.48.6) does not have',
      ),
      details: { metadata: { optional_group: 'xfs', daemon_version: '1.48.6' } },
    });
  });

  it('a procedure is reported as an action that is not in the daemon', async () => {
    const both = await turnOn('1.54.1');
    const answer = failureOf(both.turn.call(mkdir, { path: '/' }));
    await both.daemon.fail(
      await both.daemon.nextCall(),
      '',
      'dispatch_incoming_message: unknown procedure number 32, set LIBGUESTFS_PATH to point to the matching libguestfs appliance directory',
    );
    const failure = await answer;
    expect(failure).toMatchObject({
      reason: 'ACTION_NOT_IN_DAEMON',
      details: { metadata: { daemon_version: '1.54.1' } },
    });
    expect((failure as Error).message).not.toContain('LIBGUESTFS_PATH');
  });

  it.each([
    ['a file whose name looks like it', 'ENOENT', '/unknown procedure number 7: No such file or directory'],
    ['a command of the guest with that message', '', 'dispatch: unknown procedure number 7'],
    [
      'a command of the guest with that message and an errno',
      'EIO',
      'dispatch_incoming_message: unknown procedure number 7',
    ],
    ['a feature that something else lacks', 'EIO', "feature 'x' is not available"],
    ['a command that lacks a feature', '', "feature 'x' is not available in this\nbuild"],
  ])('is not seen in %s', async (_what, errno, message) => {
    const { turn, daemon } = await turnOn('1.54.1');
    const answer = failureOf(turn.call(mkdir, { path: '/' }));
    await daemon.fail(await daemon.nextCall(), errno, message);
    expect(await answer).toMatchObject({ reason: errno === '' ? 'DAEMON_ERROR' : errno, message });
  });
});

describe('an answer that the daemon cannot send', () => {
  const REPLY =
    'guestfsd: failed to encode reply body\n(maybe the reply exceeds the maximum message size in the protocol?)';
  const turnCalls = {
    mkdir: (turn: Daemon) => turn.call(mkdir, { path: '/' }),
    command: (turn: Daemon) => turn.call(command, { arguments: ['ls'] }),
    pread: (turn: Daemon) => turn.call(pread, { path: '/a', count: 2 ** 22, offset: 0n }),
    pread_device: (turn: Daemon) => turn.call(preadDevice, { device: '/dev/sda', count: 2 ** 22, offset: 0n }),
    initrd_cat: (turn: Daemon) => turn.call(initrdCat, { initrdpath: '/initrd', filename: 'a' }),
    vgmeta: (turn: Daemon) => turn.call(vgmeta, { vgname: 'VG' }),
  };
  type Name = keyof typeof turnCalls;
  const answered = async (name: Name, errno: string, message: string): Promise<unknown> => {
    const { turn, daemon } = await turnOn('1.54.1');
    const answer = failureOf(turnCalls[name](turn));
    await daemon.fail(await daemon.nextCall(), errno, message);
    return answer;
  };

  it.each<[Name, string, string]>([
    ['command', REPLY, 'CommandOut'],
    ['pread', '/a: count is too large for the protocol, use smaller reads', 'fewer bytes'],
    ['pread_device', '/dev/sda: count is too large for the protocol, use smaller reads', 'DownloadOffset'],
    ['initrd_cat', '/initrd:a: file is too large for the protocol', 'Download'],
    ['vgmeta', 'metadata is too large for message buffer', 'what one message can hold'],
  ])('of %s is reported as too large, with an alternative', async (name, message, instead) => {
    expect(await answered(name, '', message)).toMatchObject({
      reason: 'MESSAGE_TOO_LARGE',
      message: expect.stringContaining(instead),
      details: { metadata: { limit: '4194304' } },
    });
  });

  it.each<[string, Name, string, string]>([
    ['an error with an errno', 'command', 'EIO', REPLY],
    ['a command of the guest with that message', 'command', '', `x\n${REPLY}`],
    ['a command of the guest with additional text', 'command', '', `${REPLY}\nx`],
    ['a command with the message of other actions', 'command', '', 'a: file is too large for the protocol'],
    ['a file whose name looks like it', 'mkdir', '', '/a: count is too large for the protocol, use smaller reads'],
    [
      'a file in an initrd whose name looks like it',
      'initrd_cat',
      '',
      '/initrd:a: file is too large for the protocol: file not found',
    ],
  ])('is not seen in %s', async (_what, name, errno, message) => {
    expect(await answered(name, errno, message)).toMatchObject({
      reason: errno === '' ? 'DAEMON_ERROR' : errno,
      message,
    });
  });
});

it.each(['', ' \n'])('an error without a message (%j) gets one', async (message) => {
  const { turn, daemon } = await turnOn('1.54.1');
  const answer = failureOf(turn.call(mkdir, { path: '/' }));
  await daemon.fail(await daemon.nextCall(), 'EEXIST', message);
  expect(await answer).toMatchObject({
    reason: 'EEXIST',
    message: 'mkdir failed, and the daemon gave no reason; GetLog may show more',
  });
});

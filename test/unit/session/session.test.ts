/** A session with a fake launcher and a fake daemon: whatever happens, its state is correct and events report it. */
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { isDir, mkdir } from '../../../gen/calls/file.js';
import { internalAutosync } from '../../../gen/calls/internal.js';
import { luksOpen } from '../../../gen/calls/luks.js';
import { download, upload } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import type { Daemon } from '../../../src/session/daemon.js';
import type { Session } from '../../../src/session/session.js';
import { MAX_DRIVES } from '../../../src/qemu/limits.js';
import { QUEUE_LIMIT } from '../../../src/session/callQueue.js';
import { STEADY } from '../../../src/session/runningCalls.js';
import { failureOf, thrownBy } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeDaemon } from '../../fakes/fakeDaemon.js';
import { FakeMachine } from '../../fakes/fakeLauncher.js';
import { collector, EndlessSource, pattern } from '../../fakes/files.js';
import {
  action,
  drive,
  launch,
  launched,
  listen,
  never,
  testSession,
  type LaunchedSession,
} from '../../fakes/sessions.js';
import { forbidWarnings } from '../../fakes/warnings.js';
import { word } from '../../fakes/xdrBytes.js';

forbidWarnings();

/** Timers that the test advances; the event loop works as usual. */
function fakeTimers(): void {
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
}

afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

/** A call of is_dir, as made by the server. */
function ask(session: Session, signal: AbortSignal = never): Promise<unknown> {
  const request = { path: '/', followsymlinks: undefined };
  return session.perform(action('is_dir'), request, signal, (daemon) => daemon.call(isDir, request));
}

/** The session works. */
async function expectWorks({ session, daemon }: Pick<LaunchedSession, 'session' | 'daemon'>): Promise<void> {
  const answer = ask(session);
  const call = await daemon.nextCall();
  expect(call.procedure).toBe(isDir.procedure);
  await daemon.reply(call, word(1));
  expect(await answer).toEqual({ dirflag: true });
}

/** Lets the daemon sync; returns once the session is closed. */
async function closeInOrder({ session, daemon }: Pick<LaunchedSession, 'session' | 'daemon'>): Promise<void> {
  const closed = session.close();
  const call = await daemon.nextCall();
  expect(call.procedure).toBe(internalAutosync.procedure);
  await daemon.reply(call);
  await closed;
}

describe('launching', () => {
  it('goes from CONFIG through LAUNCHING to READY, and reports its progress', async () => {
    const { session, launcher } = testSession();
    const { events } = listen(session);
    const progress = session.events.subscribe(['progress']);
    expect(session.state).toBe('CONFIG');
    session.addDrive(drive, 'add_drive');
    const machine = new FakeMachine('1.54.1');
    const up = session.launch(never, 'mine');
    expect(session.state).toBe('LAUNCHING');
    const request = await launcher.request();
    request.succeed(machine);
    await quiet();
    expect(session.state).toBe('LAUNCHING');
    expect(session.machine).toBeUndefined();
    request.options.onConsole(Buffer.from('booting\n'));
    await machine.daemon.launch();
    await up;
    expect(session.state).toBe('READY');
    expect(session.machine).toBe(machine);
    expect(session.daemonVersion?.text).toBe('1.54.1');
    expect(session.launchTimings).toMatchObject({ prepareMs: 1, drivesMs: 2, qemuMs: 3 });
    expect(session.console.tail().toString()).toBe('booting\n');
    await quiet();
    expect(events).toEqual([
      'progress launch 0/12',
      'progress launch 3/12',
      'appliance booting\n',
      'progress launch 12/12',
      'launch_done',
    ]);
    progress.end();
    for await (const { event } of progress) expect(event).toMatchObject({ progress: { requestId: 'mine' } });
  });

  it('requests the machine described by the settings and drives', async () => {
    const { session, launcher } = testSession({
      memsizeMb: 1024,
      smp: 2,
      network: true,
      verbose: true,
      selinux: true,
      append: 'quiet',
      path: '/p',
      hv: '/qemu',
      tmpdir: '/t',
      cachedir: '/c',
      identifier: 'me',
      accelerator: 'tcg',
      extraQemuArguments: [['-device', 'x']],
    });
    await launch(session, launcher);
    expect(launcher.requests[0]?.config).toEqual({
      drives: [drive],
      memsizeMb: 1024,
      smp: 2,
      network: true,
      selinux: true,
      verbose: true,
      accelerator: 'tcg',
      qemuBinary: '/qemu',
      appliancePath: '/p',
      append: 'quiet',
      session: 'test',
      identifier: 'me',
      extraQemuArguments: [['-device', 'x']],
      temporaryDirectory: '/t',
      cacheDirectory: '/c',
    });
  });

  it('is refused without a drive', async () => {
    const { session, launcher } = testSession();
    expect(await failureOf(session.launch(never))).toMatchObject({ reason: 'NO_DRIVES' });
    expect(session.state).toBe('CONFIG');
    expect(launcher.requests).toEqual([]);
  });

  it('is refused while launching and when ready', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = session.launch(never);
    expect(await failureOf(session.launch(never))).toMatchObject({
      reason: 'WRONG_STATE',
      message: expect.stringContaining('LAUNCHING'),
    });
    const machine = new FakeMachine('1.54.1');
    (await launcher.request(0)).succeed(machine);
    await machine.daemon.launch();
    await up;
    expect(await failureOf(session.launch(never))).toMatchObject({
      reason: 'WRONG_STATE',
      message: expect.stringContaining('READY'),
    });
    await expectWorks({ session, daemon: machine.daemon });
  });

  it('that the launcher refuses is back in CONFIG with its error, drives kept, and can be tried again', async () => {
    const { session, launcher } = testSession();
    const { events } = listen(session, ['subprocess_quit', 'launch_done']);
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const error = new GuestfsError('QEMU_MISSING', 'no qemu');
    (await launcher.request(0)).fail(error);
    expect(await up).toBe(error);
    expect(session.state).toBe('CONFIG');
    expect(session.drives).toEqual([drive]);
    const machine = new FakeMachine('1.54.1');
    const again = session.launch(never);
    (await launcher.request(1)).succeed(machine);
    await machine.daemon.launch();
    await again;
    await expectWorks({ session, daemon: machine.daemon });
    expect(events).toEqual(['subprocess_quit', 'launch_done']);
  });

  it('of an appliance that dies is back in CONFIG, with the end of the console in the error', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine('1.54.1');
    const request = await launcher.request();
    request.options.onConsole(Buffer.from(`${'x'.repeat(20_000)}Kernel panic\u001b[0m`));
    request.succeed(machine);
    await quiet();
    machine.die({ exitCode: 3 });
    const failure = (await up) as GuestfsError;
    expect(failure).toMatchObject({ reason: 'LAUNCH_FAILED', message: expect.stringContaining('qemu ended with 3') });
    expect(failure.message).toContain('Kernel panic\u001b[0m'); // making it printable is up to the machine;
    expect(failure.message.length).toBeLessThan(17_000);
    expect(session.state).toBe('CONFIG');
    expect(machine.stops).toBeGreaterThan(0);
  });

  it('of an appliance that breaks the protocol is back in CONFIG', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine('1.54.1');
    (await launcher.request()).succeed(machine);
    await machine.daemon.write(word(0xffffffff)).catch(() => undefined);
    expect(await up).toMatchObject({ reason: 'PROTOCOL_ERROR' });
    expect(session.state).toBe('CONFIG');
    expect(machine.stops).toBeGreaterThan(0);
  });

  it('that takes too long ends with LAUNCH_TIMEOUT, and the machine is stopped', async () => {
    fakeTimers();
    const { session, launcher } = testSession({ launchTimeoutMs: 5000 });
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine('1.54.1');
    const request = await launcher.request();
    request.options.onConsole(Buffer.from('hanging'));
    request.succeed(machine);
    await quiet();
    jest.advanceTimersByTime(4999);
    await quiet();
    expect(session.state).toBe('LAUNCHING');
    jest.advanceTimersByTime(1);
    expect(await up).toMatchObject({ reason: 'LAUNCH_TIMEOUT', message: expect.stringContaining('hanging') });
    expect(session.state).toBe('CONFIG');
    expect(machine.stops).toBe(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('leaves no timer behind', async () => {
    fakeTimers();
    const { session, launcher } = testSession({ launchTimeoutMs: 5000 });
    const { daemon } = await launch(session, launcher);
    expect(jest.getTimerCount()).toBe(0);
    await expectWorks({ session, daemon });
  });

  it('whose time is up before there is a machine ends with LAUNCH_TIMEOUT too', async () => {
    fakeTimers();
    const { session, launcher } = testSession({ launchTimeoutMs: 5000 });
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const request = await launcher.request();
    request.options.signal.addEventListener('abort', () => request.fail(request.options.signal.reason));
    jest.advanceTimersByTime(5000);
    expect(await up).toMatchObject({ reason: 'LAUNCH_TIMEOUT' });
    expect(session.state).toBe('CONFIG');
  });

  it('of a daemon that does not reveal its version fails when time is up', async () => {
    fakeTimers();
    const { session, launcher } = testSession({ launchTimeoutMs: 5000 });
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine(undefined);
    (await launcher.request()).succeed(machine);
    await machine.daemon.launch();
    await machine.daemon.nextCall();
    await quiet();
    jest.advanceTimersByTime(5000);
    await quiet();
    expect(session.state).toBe('CONFIG');
    expect(await up).toMatchObject({ reason: 'LAUNCH_TIMEOUT' });
  });

  it("that the caller gives up ends with the caller's reason", async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const caller = new AbortController();
    const up = failureOf(session.launch(caller.signal));
    const machine = new FakeMachine('1.54.1');
    (await launcher.request()).succeed(machine);
    await quiet();
    const reason = new GuestfsError('CANCELLED', 'the client is gone');
    caller.abort(reason);
    expect(await up).toBe(reason);
    expect(session.state).toBe('CONFIG');
    expect(machine.stops).toBe(1);
  });

  it('is ended by kill and by close', async () => {
    for (const end of [(session: Session) => session.kill(), (session: Session) => session.close()]) {
      const { session, launcher } = testSession();
      session.addDrive(drive, 'add_drive');
      const up = failureOf(session.launch(never));
      const machine = new FakeMachine('1.54.1');
      (await launcher.request()).succeed(machine);
      await quiet();
      await end(session);
      expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED' });
      expect(machine.stops).toBe(1);
    }
  });

  it('probes a daemon of unknown version', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = session.launch(never);
    const machine = new FakeMachine(undefined);
    (await launcher.request()).succeed(machine);
    await machine.daemon.launch();
    const call = await machine.daemon.nextCall();
    await machine.daemon.fail(call, '', 'daemon failed to decode procedure arguments');
    await up;
    expect(session.daemonVersion?.text).toBe('1.59.2');
  });

  it('can be repeated after a shutdown, with other drives', async () => {
    const first = await launched();
    const down = first.session.shutdown();
    await first.daemon.reply(await first.daemon.nextCall());
    await down;
    expect(first.session.state).toBe('CONFIG');
    expect(first.session.drives).toEqual([]);
    const { daemon } = await launch(first.session, first.launcher);
    await expectWorks({ session: first.session, daemon });
  });
});

describe('a launch while the previous appliance is still ending', () => {
  it('starts when that has ended, and its appliance ends like any other', async () => {
    const first = await launched();
    let end = (): void => undefined;
    first.machine.ending = new Promise((resolve) => {
      end = resolve;
    });
    const killed = first.session.kill();
    await quiet();
    expect(first.session.state).toBe('CONFIG');
    const second = launch(first.session, first.launcher);
    await quiet();
    expect(first.launcher.requests).toHaveLength(1);
    end();
    await killed;
    const { daemon, machine } = await second;
    await expectWorks({ session: first.session, daemon });
    await closeInOrder({ session: first.session, daemon });
    expect(machine.stops).toBe(1);
  });

  it('can be given up', async () => {
    const first = await launched();
    first.machine.ending = new Promise(() => undefined);
    void first.session.kill();
    await quiet();
    first.session.addDrive(drive, 'add_drive');
    const gone = new AbortController();
    const second = first.session.launch(gone.signal);
    gone.abort(new GuestfsError('CANCELLED', 'the client is gone'));
    await expect(second).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(first.session.state).toBe('CONFIG');
  });
});

describe('drives', () => {
  it('are added for the launch in CONFIG only', async () => {
    const { session } = await launched();
    expect(() => session.addDrive(drive, 'add_drive')).toThrow(
      'add_drive needs a session in state CONFIG; this one is in state READY',
    );
  });

  it('are added to and removed from a running session, in a turn', async () => {
    const { session, machine, daemon } = await launched();
    const asked = ask(session);
    const added = session.attachDrive({ ...drive, label: 'hot' }, 'add_drive', never);
    const call = await daemon.nextCall();
    await quiet();
    expect(machine.drives.attached.size).toBe(0);
    await daemon.reply(call, word(1));
    await asked;
    await added;
    expect(machine.drives.attached).toEqual(new Map([[1, { ...drive, label: 'hot' }]]));
    expect(session.drives).toHaveLength(2);
    await expect(session.attachDrive({ ...drive, label: 'hot' }, 'add_drive', never)).rejects.toMatchObject({
      reason: 'EEXIST',
    });

    machine.drives.before = async () => {
      throw new GuestfsError('EBUSY', 'the drive is in use');
    };
    await expect(session.removeDrive('hot', 'remove_drive', never)).rejects.toMatchObject({ reason: 'EBUSY' });
    expect(session.hasDrive(1)).toBe(true);
    machine.drives.before = async () => undefined;
    await session.removeDrive('hot', 'remove_drive', never);
    expect(machine.drives.attached.size).toBe(0);
    expect([session.hasDrive(0), session.hasDrive(1), session.drives.length]).toEqual([true, false, 1]);
    await expect(session.removeDrive('hot', 'remove_drive', never)).rejects.toMatchObject({ reason: 'ENOENT' });
    await expectWorks({ session, daemon });
  });

  it('that are removed report writes that failed on the host; they are removed nevertheless', async () => {
    const both = await launched();
    await both.session.attachDrive({ ...drive, readonly: false, label: 'hot' }, 'add_drive', never);
    both.machine.drives.failed.set(1, 2);
    await expect(both.session.removeDrive('hot', 'remove_drive', never)).rejects.toMatchObject({
      reason: 'EIO',
      message: expect.stringContaining('2 writes to /dev/sdb'),
      details: { metadata: { device: '/dev/sdb', failed_writes: '2' } },
    });
    expect(both.session.hasDrive(1)).toBe(false);
    await closeInOrder(both);
  });

  it('that are being added are attached before the next call, even if the caller has given up', async () => {
    const { session, machine, daemon } = await launched();
    let attach = (): void => undefined;
    machine.drives.before = () =>
      new Promise<void>((resolve) => {
        attach = resolve;
      });
    const gone = new AbortController();
    const added = session.attachDrive(drive, 'add_drive', gone.signal);
    await quiet();
    gone.abort(new GuestfsError('CANCELLED', 'the client is gone'));
    await expect(added).rejects.toMatchObject({ reason: 'CANCELLED' });
    const next = expectWorks({ session, daemon });
    await quiet();
    attach();
    await next;
    expect(session.drives).toHaveLength(2);
  });

  it('can be removed before the launch', async () => {
    const { session } = testSession();
    session.addDrive({ ...drive, label: 'a' }, 'add_drive');
    session.addDrive({ ...drive, label: 'b' }, 'add_drive');
    await session.removeDrive('a', 'remove_drive', never);
    expect(session.drives).toEqual([{ ...drive, label: 'b' }]);
    expect([session.hasDrive(0), session.hasDrive(1)]).toEqual([true, false]);
  });

  it('are added together or not at all', () => {
    const { session } = testSession();
    session.addDrive({ ...drive, label: 'a' }, 'add_drive');
    expect(
      thrownBy(() => session.addDrives([drive, { ...drive, label: 'b' }, { ...drive, label: 'a' }], 'add_domain')),
    ).toMatchObject({ reason: 'EEXIST' });
    expect(session.drives).toEqual([{ ...drive, label: 'a' }]);
    session.addDrives([drive, { ...drive, label: 'b' }], 'add_domain');
    expect(session.drives).toHaveLength(3);
  });

  it('are limited in number, and their labels differ', () => {
    const { session } = testSession();
    session.addDrive({ ...drive, label: 'a' }, 'add_drive');
    expect(thrownBy(() => session.addDrive({ ...drive, label: 'a' }, 'add_drive'))).toMatchObject({ reason: 'EEXIST' });
    for (let count = 1; count < MAX_DRIVES; count += 1) session.addDrive(drive, 'add_drive');
    expect(thrownBy(() => session.addDrive(drive, 'add_drive'))).toMatchObject({ reason: 'ENOSPC' });
    expect(session.drives).toHaveLength(MAX_DRIVES);
  });
});

describe('calls', () => {
  it('need state READY', async () => {
    const { session, launcher } = testSession();
    expect(await failureOf(ask(session))).toMatchObject({
      reason: 'WRONG_STATE',
      message: expect.stringContaining('CONFIG'),
    });
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    expect(await failureOf(ask(session))).toMatchObject({
      reason: 'WRONG_STATE',
      message: expect.stringContaining('LAUNCHING'),
    });
    (await launcher.request()).fail(new GuestfsError('QEMU_FAILED', ''));
    await up;
    await session.close();
    expect(await failureOf(ask(session))).toMatchObject({ reason: 'SESSION_UNKNOWN' });
  });

  it('go to the daemon one at a time, in order', async () => {
    const { session, daemon } = await launched();
    const answers = ['/a', '/b', '/c'].map((path) => {
      const request = { path };
      return session.perform(action('mkdir'), request, never, (turn) => turn.call(mkdir, request));
    });
    await quiet();
    expect(session.pendingCalls).toBe(3);
    expect(session.expireTime).toBeUndefined();
    for (const path of ['/a', '/b', '/c']) {
      const call = await daemon.nextCall();
      expect(call.body.subarray(4, 6).toString()).toBe(path);
      await quiet();
      expect(daemon.unreadBytes).toBe(0);
      await daemon.reply(call);
    }
    await Promise.all(answers);
    expect(session.pendingCalls).toBe(0);
    expect(session.expireTime).toBeInstanceOf(Date);
  });

  it('of several requests keep their turn until all are done', async () => {
    const { session, daemon } = await launched();
    const body = async (turn: Daemon): Promise<string> => {
      await turn.call(mkdir, { path: '/1' });
      await turn.call(mkdir, { path: '/2' });
      return 'both';
    };
    const both = session.perform(action('copy_in'), {}, never, body);
    const other = ask(session);
    for (let count = 0; count < 2; count += 1) {
      const call = await daemon.nextCall();
      expect(call.procedure).toBe(mkdir.procedure);
      await daemon.reply(call);
    }
    const call = await daemon.nextCall();
    expect(call.procedure).toBe(isDir.procedure);
    await daemon.reply(call, word(0));
    expect(await both).toBe('both');
    expect(await other).toEqual({ dirflag: false });
  });

  it('that the caller gives up are answered at once; the turn lasts until the daemon answers', async () => {
    const both = await launched();
    const caller = new AbortController();
    const reason = new GuestfsError('DEADLINE_EXCEEDED', 'too slow');
    const answer = failureOf(ask(both.session, caller.signal));
    const call = await both.daemon.nextCall();
    const next = ask(both.session);
    caller.abort(reason);
    expect(await answer).toBe(reason);
    await quiet();
    expect(both.daemon.unreadBytes).toBe(0);
    expect(both.session.pendingCalls).toBe(2);
    await both.daemon.reply(call, word(1));
    const second = await both.daemon.nextCall();
    await both.daemon.reply(second, word(0));
    expect(await next).toEqual({ dirflag: false });
  });

  it('that the caller gives up while they wait are never sent', async () => {
    const both = await launched();
    const first = ask(both.session);
    const call = await both.daemon.nextCall();
    const caller = new AbortController();
    const waiting = failureOf(ask(both.session, caller.signal));
    const reason = new GuestfsError('CANCELLED', 'gone');
    caller.abort(reason);
    expect(await waiting).toBe(reason);
    await both.daemon.reply(call, word(1));
    await first;
    await quiet();
    expect(both.daemon.unreadBytes).toBe(0);
    await expectWorks(both);
  });

  it('over the bound of the queue are refused', async () => {
    const { session, daemon } = await launched();
    const answers = Array.from({ length: QUEUE_LIMIT + 1 }, () => ask(session));
    expect(await failureOf(ask(session))).toMatchObject({ reason: 'QUEUE_FULL' });
    for (const answer of answers) {
      await daemon.reply(await daemon.nextCall(), word(1));
      await answer;
    }
  });

  it('out of turn run whatever the daemon does', async () => {
    const { session } = await launched();
    void ask(session).catch(() => undefined);
    expect(await session.performOutOfTurn(action('get_memsize'), {}, async () => 'now')).toBe('now');
    await session.kill();
  });

  it('a defect in one of them does not take the turn with it', async () => {
    const both = await launched();
    expect(
      await failureOf(
        both.session.perform(action('copy_in'), {}, never, async () => {
          throw new TypeError('a defect');
        }),
      ),
    ).toBeInstanceOf(TypeError);
    await expectWorks(both);
  });
});

describe('an appliance that ends unexpectedly', () => {
  it.each([
    ['after a kernel panic', 'Kernel panic - not syncing: Fatal exception', 'KERNEL_PANIC'],
    ['when it had no memory left', 'Out of memory: Killed process 179 (guestfsd) total-vm:1kB', 'OUT_OF_MEMORY'],
  ])('%s answers its call with the cause, and tells it', async (_when, console, reason) => {
    const both = await launched();
    const { events } = listen(both.session, ['warning']);
    const answer = failureOf(ask(both.session));
    await both.daemon.nextCall();
    both.launcher.requests[0]?.options.onConsole(Buffer.from(`[ 5.5] ${console}\r\n`));
    both.machine.die();
    expect(await answer).toMatchObject({
      reason,
      message: expect.stringMatching(/^the appliance.*: the appliance ended before it answered: whether the call/),
      details: { outcomeUnknown: true },
    });
    await quiet();
    expect(events).toEqual([
      expect.stringMatching(/^warning the appliance ended unexpectedly: the appliance('s| has)/),
    ]);
    expect(both.session.state).toBe('CONFIG');
  });

  it('says nothing of what an earlier appliance of the session has printed', async () => {
    const both = await launched();
    both.launcher.requests[0]?.options.onConsole(Buffer.from('Kernel panic - not syncing: earlier\r\n'));
    both.machine.die();
    await quiet();
    const second = await launch(both.session, both.launcher);
    const answer = failureOf(ask(both.session));
    await second.daemon.nextCall();
    second.machine.die({ exitCode: 0 });
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
  });

  it('in the middle of a call: its outcome is unknown, those that wait were never sent, all is back in CONFIG', async () => {
    const both = await launched();
    const { events } = listen(both.session);
    const answer = failureOf(ask(both.session));
    await both.daemon.nextCall();
    const waiting = [failureOf(ask(both.session)), failureOf(ask(both.session))];
    both.machine.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    for (const failure of await Promise.all(waiting)) expect(failure).toMatchObject({ reason: 'APPLIANCE_GONE' });
    await quiet();
    expect(both.session.state).toBe('CONFIG');
    expect(both.session.drives).toEqual([]);
    expect(both.session.machine).toBeUndefined();
    expect(both.machine.stops).toBe(1);
    expect(events.filter((event) => event === 'subprocess_quit')).toHaveLength(1);
    expect(events).toEqual(
      expect.arrayContaining([
        'finished is_dir 1: OUTCOME_UNKNOWN',
        'finished is_dir 2: APPLIANCE_GONE',
        'finished is_dir 3: APPLIANCE_GONE',
      ]),
    );
    expect(events).not.toContain('started is_dir 3');
    const { daemon } = await launch(both.session, both.launcher);
    await expectWorks({ session: both.session, daemon });
  });

  it('while nothing happens', async () => {
    const both = await launched();
    const { events } = listen(both.session);
    both.machine.die();
    await quiet();
    expect(both.session.state).toBe('CONFIG');
    expect(events.at(-1)).toBe('subprocess_quit');
    expect(await failureOf(ask(both.session))).toMatchObject({ reason: 'WRONG_STATE' });
  });

  it('by breaking the protocol: those that wait were never sent', async () => {
    const both = await launched();
    const answer = failureOf(ask(both.session));
    const call = await both.daemon.nextCall();
    const waiting = failureOf(ask(both.session));
    await both.daemon.reply(call, word(7));
    expect(await answer).toMatchObject({ reason: 'PROTOCOL_ERROR' });
    expect(await waiting).toMatchObject({ reason: 'APPLIANCE_GONE' });
    await quiet();
    expect(both.session.state).toBe('CONFIG');
    expect(both.machine.stops).toBe(1);
  });

  it('in the middle of an upload and of a download', async () => {
    for (const body of [
      (daemon: Daemon): Promise<unknown> =>
        daemon.upload(upload, { remotefilename: '/a', progress_hint: undefined }, new EndlessSource([pattern(10)])),
      (daemon: Daemon): Promise<unknown> => daemon.download(download, { remotefilename: '/a' }, collector().deliver),
    ]) {
      const both = await launched();
      const answer = failureOf(both.session.perform(action('upload'), {}, never, body));
      await both.daemon.nextCall();
      both.machine.die();
      expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
      await quiet();
      expect(both.session.state).toBe('CONFIG');
    }
  });
});

describe('ending', () => {
  it('syncs, stops the machine, and then reports that it is closed', async () => {
    const both = await launched();
    const { events, done } = listen(both.session);
    const closed = both.session.close();
    const call = await both.daemon.nextCall();
    expect(call.procedure).toBe(internalAutosync.procedure);
    expect(both.machine.stops).toBe(0);
    await both.daemon.reply(call);
    await closed;
    await done;
    expect(both.session.state).toBe('CLOSED');
    expect(both.machine.stops).toBe(1);
    expect(events).toEqual(['subprocess_quit', 'close']);
  });

  it('reports what could not be written, and stops the machine nevertheless (qemudie-synch)', async () => {
    for (const end of [(session: Session) => session.shutdown(), (session: Session) => session.close()]) {
      const both = await launched();
      const ended = failureOf(end(both.session));
      await both.daemon.fail(await both.daemon.nextCall(), 'EIO', 'fsync: /dev/sda: Input/output error');
      expect(await ended).toMatchObject({ reason: 'EIO', message: 'fsync: /dev/sda: Input/output error' });
      expect(both.machine.stops).toBe(1);
      expect(both.session.machine).toBeUndefined();
    }
  });

  it.each([
    ['a signal', { exitCode: undefined, signal: 'SIGSEGV', qemuMessages: 'x\nlast words\n' }, 'SIGSEGV'],
    ['an exit code', { exitCode: 1, signal: undefined }, 'exit code 1'],
    ['a kill, since it took too long', { exitCode: undefined, signal: 'SIGKILL' }, 'did not exit within 60 s'],
  ])('reports a qemu that ends with %s: its last writes may be lost', async (_what, end, words) => {
    const both = await launched();
    both.machine.end = end;
    const ended = failureOf(both.session.shutdown());
    await both.daemon.reply(await both.daemon.nextCall());
    expect(await ended).toMatchObject({ reason: 'QEMU_FAILED', message: expect.stringContaining(words) });
    expect(both.session.state).toBe('CONFIG');
  });

  it('reports a qemu that had to be killed, also if the daemon has broken the protocol since its last answer', async () => {
    const both = await launched();
    both.machine.end = { exitCode: undefined, signal: 'SIGKILL' };
    const ended = failureOf(both.session.shutdown());
    const sync = await both.daemon.nextCall();
    // In the same piece, so that there is no time to notice it in between.
    await Promise.all([both.daemon.reply(sync), both.daemon.write(Buffer.alloc(64, 0xff))]);
    expect(await ended).toMatchObject({ reason: 'QEMU_FAILED', message: expect.stringContaining('was killed') });
    expect(both.session.state).toBe('CONFIG');
  });

  it('reports failed writes to an image on the host, although the sync succeeded', async () => {
    const both = await launched();
    await both.session.attachDrive({ ...drive, readonly: false }, 'add_drive', never);
    both.machine.drives.failed.set(1, 3);
    const closed = failureOf(both.session.close());
    await both.daemon.reply(await both.daemon.nextCall());
    expect(await closed).toMatchObject({
      reason: 'EIO',
      message: expect.stringContaining('3 writes to /dev/sdb'),
      details: { metadata: { device: '/dev/sdb', failed_writes: '3' } },
    });
    expect(both.machine.stops).toBe(1);
  });

  it('ignores failed writes to drives that are discarded with the session', async () => {
    const both = await launched();
    both.machine.drives.failed.set(0, 3);
    const down = both.session.shutdown();
    await both.daemon.reply(await both.daemon.nextCall());
    await down;
  });

  it('reports an appliance that dies while it syncs', async () => {
    const both = await launched();
    const ended = failureOf(both.session.shutdown());
    await both.daemon.nextCall();
    both.machine.die();
    expect(await ended).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(both.session.state).toBe('CONFIG');
  });

  it('does not sync when autosync is off', async () => {
    const both = await launched({ autosync: false });
    await both.session.shutdown();
    expect(both.daemon.unreadBytes).toBe(0);
    expect(both.machine.stops).toBe(1);
  });

  it('without an appliance just ends', async () => {
    const { session } = testSession();
    await session.shutdown();
    expect(session.state).toBe('CONFIG');
    await session.close();
    expect(session.state).toBe('CLOSED');
  });

  it('by kill does not sync, and a call in progress has an unknown outcome (qemudie-killsub)', async () => {
    const both = await launched();
    const { events } = listen(both.session, ['subprocess_quit', 'finished']);
    const answer = failureOf(ask(both.session));
    await both.daemon.nextCall();
    await both.session.kill();
    expect(both.session.state).toBe('CONFIG');
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    await quiet();
    expect(both.machine.stops).toBe(1);
    expect([...events].sort()).toEqual(['finished is_dir 1: OUTCOME_UNKNOWN', 'subprocess_quit']);
  });

  it('by kill releases the turn of a download that is not consumed', async () => {
    const both = await launched();
    const answer = failureOf(
      both.session.perform(action('download'), {}, never, (turn) =>
        turn.download(download, { remotefilename: '/a' }, () => new Promise<never>(() => undefined)),
      ),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.chunk(pattern(10));
    await quiet();
    await both.session.kill();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(both.session.pendingCalls).toBe(0);
  });

  it('waits for a call in progress', async () => {
    const both = await launched();
    const answer = ask(both.session);
    const call = await both.daemon.nextCall();
    const down = both.session.shutdown();
    await quiet();
    expect(both.daemon.unreadBytes).toBe(0);
    await both.daemon.reply(call, word(1));
    expect(await answer).toEqual({ dirflag: true });
    await both.daemon.reply(await both.daemon.nextCall());
    await down;
  });

  it('cancels a transfer in progress by the protocol, and then syncs', async () => {
    const both = await launched();
    const answer = failureOf(
      both.session.perform(action('upload'), {}, never, (turn) =>
        turn.upload(upload, { remotefilename: '/a', progress_hint: undefined }, new EndlessSource([pattern(10)])),
      ),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.nextPiece();
    const down = both.session.shutdown();
    expect((await both.daemon.nextFile()).cancelled).toBe(true);
    await both.daemon.fail(call, '', 'cancelled');
    expect(await answer).toMatchObject({ reason: 'CANCELLED' });
    const sync = await both.daemon.nextCall();
    expect(sync.procedure).toBe(internalAutosync.procedure);
    await both.daemon.reply(sync);
    await down;
  });

  it('while a call hangs stops the machine after a grace period, and reports that nothing was synced', async () => {
    fakeTimers();
    const both = await launched();
    const answer = failureOf(ask(both.session));
    await both.daemon.nextCall();
    const closed = failureOf(both.session.close());
    await quiet();
    jest.advanceTimersByTime(19_999);
    await quiet();
    expect(both.machine.stops).toBe(0);
    jest.advanceTimersByTime(1);
    expect(await closed).toMatchObject({ reason: 'ETIMEDOUT', message: expect.stringContaining('without a sync') });
    expect(both.machine.stops).toBe(1);
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(both.session.state).toBe('CLOSED');
  });

  it('of a daemon that does not sync stops the machine after a while', async () => {
    fakeTimers();
    const both = await launched();
    const closed = failureOf(both.session.close());
    await both.daemon.nextCall();
    await quiet();
    jest.advanceTimersByTime(119_999);
    await quiet();
    expect(both.machine.stops).toBe(0);
    jest.advanceTimersByTime(1);
    expect(await closed).toMatchObject({ reason: 'ETIMEDOUT' });
    expect(both.machine.stops).toBe(1);
  });

  it('syncs however many calls wait', async () => {
    const both = await launched();
    const answers = Array.from({ length: QUEUE_LIMIT + 1 }, () => ask(both.session).catch((error: unknown) => error));
    const first = await both.daemon.nextCall();
    const down = both.session.shutdown().catch((error: unknown) => error);
    await both.daemon.reply(first, word(1)).catch(() => undefined);
    const served: number[] = [];
    const serving = (async () => {
      for (;;) {
        const call = await both.daemon.nextCall();
        served.push(call.procedure);
        await both.daemon.reply(call, call.procedure === isDir.procedure ? word(1) : undefined);
      }
    })().catch(() => undefined); // when the machine is stopped
    expect(await down).toBeUndefined();
    await serving;
    expect(served.at(-1)).toBe(internalAutosync.procedure);
    await Promise.all(answers);
  });

  it('refuses calls that wait while it syncs: they are never sent', async () => {
    const both = await launched();
    const down = both.session.shutdown();
    const call = await both.daemon.nextCall();
    const waiting = failureOf(ask(both.session));
    await both.daemon.reply(call);
    await down;
    expect(await waiting).toMatchObject({ reason: 'APPLIANCE_GONE' });
  });

  it('can be requested twice: both calls wait for the same end', async () => {
    const both = await launched();
    const { events, done } = listen(both.session);
    const closes = [both.session.close(), both.session.close()];
    await both.daemon.reply(await both.daemon.nextCall());
    await Promise.all(closes);
    await both.session.close();
    await done;
    expect(events).toEqual(['subprocess_quit', 'close']);
    expect(both.machine.stops).toBe(1);
  });

  it('refuses later calls', async () => {
    const both = await launched();
    const closed = both.session.close();
    expect(await failureOf(ask(both.session))).toMatchObject({ reason: 'SESSION_UNKNOWN' });
    await both.daemon.reply(await both.daemon.nextCall());
    await closed;
  });
});

describe('user_cancel', () => {
  it('ends an upload in progress with EINTR', async () => {
    const both = await launched();
    const answer = failureOf(
      both.session.perform(action('upload'), {}, never, (turn) =>
        turn.upload(upload, { remotefilename: '/a', progress_hint: undefined }, new EndlessSource([pattern(10)])),
      ),
    );
    const call = await both.daemon.nextCall();
    await both.daemon.nextPiece();
    both.session.cancelTransfer();
    expect((await both.daemon.nextFile()).cancelled).toBe(true);
    await both.daemon.fail(call, '', 'cancelled');
    expect(await answer).toMatchObject({ reason: 'EINTR' });
    await expectWorks(both);
  });

  it('ends a download in progress with EINTR', async () => {
    const both = await launched();
    const answer = failureOf(
      both.session.perform(action('download'), {}, never, (turn) =>
        turn.download(download, { remotefilename: '/a' }, collector().deliver),
      ),
    );
    await both.daemon.reply(await both.daemon.nextCall());
    await both.daemon.chunk(pattern(10));
    both.session.cancelTransfer();
    expect(await both.daemon.nextPiece()).toEqual({ kind: 'cancel flag' });
    await both.daemon.cancelChunk();
    expect(await answer).toMatchObject({ reason: 'EINTR' });
    await expectWorks(both);
  });

  it('does not affect a call that is not a transfer, or the next one, or an idle session', async () => {
    const both = await launched();
    both.session.cancelTransfer();
    const answer = ask(both.session);
    const call = await both.daemon.nextCall();
    both.session.cancelTransfer();
    await both.daemon.reply(call, word(1));
    expect(await answer).toEqual({ dirflag: true });
    await expectWorks(both);
  });
});

describe('events', () => {
  it('report a call in order: queued, started, enter, trace, progress, trace, finished', async () => {
    const both = await launched({ trace: true });
    const { events, done } = listen(both.session);
    const request = { path: '/dir' };
    const answer = both.session.perform(action('mkdir'), request, never, (turn) => turn.call(mkdir, request));
    const call = await both.daemon.nextCall();
    await both.daemon.progress(call, 1n, 2n);
    await both.daemon.progress({ ...call, serial: call.serial + 1 }, 9n, 9n); // of no call
    await both.daemon.progress({ ...call, procedure: 1 }, 9n, 9n);
    await both.daemon.reply(call);
    await answer;
    await closeInOrder(both);
    await done;
    expect(events).toEqual([
      'queued mkdir 1',
      'started mkdir 1',
      'enter mkdir',
      'trace mkdir "/dir"',
      'progress mkdir 1/2',
      'trace mkdir = 0',
      'finished mkdir 1',
      'subprocess_quit',
      'close',
    ]);
  });

  it('name the call by its request ID', async () => {
    const both = await launched();
    const subscription = both.session.events.subscribe([]);
    const request = { path: '/dir' };
    const named = (requestId?: string): Promise<unknown> =>
      both.session.perform(action('mkdir'), request, never, (turn) => turn.call(mkdir, request), {
        ...STEADY,
        requestId,
      });
    for (const id of ['mine', undefined]) {
      const answer = named(id);
      const call = await both.daemon.nextCall();
      await both.daemon.progress(call, 1n, 2n);
      await both.daemon.reply(call);
      await answer;
    }
    await closeInOrder(both);
    const ids: string[] = [];
    for await (const { event } of subscription) {
      if ('progress' in event) ids.push(`progress ${event.progress.requestId}`);
      if ('call' in event) ids.push(`${event.kind} ${event.call.requestId}`);
    }
    const life = ['queued', 'started', 'progress', 'finished'];
    expect(ids).toEqual([...life.map((kind) => `${kind} mine`), ...life.map((kind) => `${kind} `)]);
  });

  it('report a failed call', async () => {
    const both = await launched({ trace: true });
    const { events, done } = listen(both.session);
    const request = { path: '/dir' };
    const answer = failureOf(
      both.session.perform(action('mkdir'), request, never, (turn) => turn.call(mkdir, request)),
    );
    await both.daemon.fail(await both.daemon.nextCall(), 'EEXIST', 'File exists');
    await answer;
    await closeInOrder(both);
    await done;
    expect(events).toEqual([
      'queued mkdir 1',
      'started mkdir 1',
      'enter mkdir',
      'trace mkdir "/dir"',
      'trace mkdir = -1 (error)',
      'finished mkdir 1: EEXIST',
      'subprocess_quit',
      'close',
    ]);
  });

  it('report a call in the wrong state, which gets no turn', async () => {
    const { session } = testSession({ trace: true });
    const { events } = listen(session);
    const request = { path: '/dir' };
    expect(
      await failureOf(session.perform(action('mkdir'), request, never, (turn) => turn.call(mkdir, request))),
    ).toMatchObject({ reason: 'WRONG_STATE' });
    await quiet();
    expect(events).toEqual(['enter mkdir', 'trace mkdir "/dir"', 'trace mkdir = -1 (error)']);
  });

  it('number the calls, and report those that wait', async () => {
    const both = await launched();
    const { events } = listen(both.session, ['queued', 'started', 'finished']);
    const answers = [ask(both.session), ask(both.session)];
    await quiet();
    expect(events).toEqual(['queued is_dir 1', 'queued is_dir 2', 'started is_dir 1']);
    for (const answer of answers) {
      await both.daemon.reply(await both.daemon.nextCall(), word(1));
      await answer;
    }
    await quiet();
    expect(events.slice(3)).toEqual(['finished is_dir 1', 'started is_dir 2', 'finished is_dir 2']);
  });

  it('have no traces unless they are switched on', async () => {
    const both = await launched();
    const { events } = listen(both.session, ['trace']);
    await expectWorks(both);
    await quiet();
    expect(events).toEqual([]);
  });

  it('never have a key in a trace', async () => {
    const both = await launched({ trace: true });
    const { events, done } = listen(both.session);
    const request = { device: '/dev/sda1', key: 'open sesame', mapname: 'm' };
    const answer = failureOf(
      both.session.perform(action('luks_open'), request, never, (turn) => turn.call(luksOpen, request)),
    );
    await both.daemon.fail(await both.daemon.nextCall(), '', 'no key available');
    await answer;
    await closeInOrder(both);
    await done;
    expect(events).toContain('trace luks_open "/dev/sda1" "***" "m"');
    expect(events.join('\n')).not.toContain('sesame');
  });

  it('have the output of the console, which need not be UTF-8', async () => {
    const both = await launched();
    const { events } = listen(both.session, ['appliance']);
    both.launcher.requests[0]?.options.onConsole(Buffer.from('caf\u00e9', 'latin1'));
    await quiet();
    expect(events).toEqual(['appliance caf\uefe9']);
    expect(both.session.console.tail()).toEqual(Buffer.from('caf\u00e9', 'latin1'));
  });

  it('of actions out of turn are enter and trace', async () => {
    const { session } = testSession({ trace: true });
    const { events } = listen(session);
    await session.performOutOfTurn(action('get_memsize'), {}, async () => ({ memsize: 512 }));
    await quiet();
    expect(events).toEqual(['enter get_memsize', 'trace get_memsize', 'trace get_memsize = 512']);
  });

  it('report what the launcher does, in detail only if verbose', async () => {
    for (const verbose of [false, true]) {
      const both = await launched({ verbose });
      const { events } = listen(both.session, ['library', 'warning']);
      both.launcher.requests[0]?.options.onMessage?.('library', 'a detail');
      both.launcher.requests[0]?.options.onMessage?.('warning', 'no KVM');
      await quiet();
      expect(events).toEqual(verbose ? ['library a detail', 'warning no KVM'] : ['warning no KVM']);
    }
  });

  it('warn of an appliance that ends unexpectedly, but not of one that is stopped', async () => {
    const lost = await launched();
    const { events } = listen(lost.session, ['warning', 'subprocess_quit']);
    lost.machine.die();
    await quiet();
    expect(events).toEqual([expect.stringContaining('warning the appliance ended unexpectedly'), 'subprocess_quit']);

    const ended = await launched();
    const { events: others } = listen(ended.session, ['warning', 'subprocess_quit']);
    await ended.session.kill();
    await quiet();
    expect(others).toEqual(['subprocess_quit']);
  });

  it('of progress arrive while the call runs', async () => {
    const both = await launched();
    const { events } = listen(both.session, ['progress']);
    const data = pattern(3 * 8192);
    const answer = both.session.perform(action('upload'), {}, never, (turn) =>
      turn.upload(
        upload,
        { remotefilename: '/a', progress_hint: undefined },
        (async function* () {
          yield data;
        })(),
        BigInt(data.length),
      ),
    );
    const call = await both.daemon.nextCall();
    expect(call.progressHint).toBe(BigInt(data.length));
    await both.daemon.nextPiece();
    await both.daemon.write(FakeDaemon.progressBytes(call, 8192n, BigInt(data.length)));
    await quiet();
    expect(events).toEqual([`progress upload 8192/${data.length}`]);
    await both.daemon.nextFile();
    await both.daemon.reply(call);
    await answer;
  });
});

/** Calls that their clients have given up and the daemon does not finish, such as the read of a FIFO. */
import { afterEach, expect, it, jest } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { internalAutosync } from '../../../gen/calls/internal.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { ABANDONED_GRACE_MS } from '../../../src/session/ending.js';
import { STEADY } from '../../../src/session/runningCalls.js';
import { failureOf } from '../../fakes/connected.js';
import { FakeMachine } from '../../fakes/fakeLauncher.js';
import { action, drive, launched, listen, never, testSession, type LaunchedSession } from '../../fakes/sessions.js';
import { quiet } from '../../fakes/duplexPair.js';

/** The idle timeout of the fake session, which is shorter than the limit. */
const LIMIT_MS = 60_000;

afterEach(() => {
  jest.useRealTimers();
});

const FAKED: Parameters<typeof jest.useFakeTimers>[0] = {
  doNotFake: ['Date', 'nextTick', 'queueMicrotask', 'setImmediate', 'performance', 'hrtime'],
};

/** A session with an image that it can write to. */
async function writing(): Promise<LaunchedSession> {
  const { session, launcher } = testSession();
  const machine = new FakeMachine('1.54.1');
  session.addDrive({ ...drive, readonly: false }, 'add_drive');
  const up = session.launch(never);
  (await launcher.request()).succeed(machine);
  await machine.daemon.launch();
  await up;
  return { session, launcher, machine, daemon: machine.daemon };
}

/** A call that has reached the daemon, and that its client gives up. */
async function givenUp({ session, daemon }: LaunchedSession, name = 'is_dir'): Promise<() => Promise<void>> {
  const client = new AbortController();
  const request = { path: '/fifo', followsymlinks: undefined };
  const caller = {
    ...STEADY,
    get isAbandoned() {
      return client.signal.aborted;
    },
  };
  const ask = (one: Parameters<Parameters<typeof session.perform>[3]>[0]): Promise<unknown> => one.call(isDir, request);
  const call = session.perform(action(name), request, client.signal, ask, caller);
  const sent = await daemon.nextCall();
  client.abort(new GuestfsError('CANCELLED', 'gone'));
  expect(await failureOf(call)).toMatchObject({ reason: 'CANCELLED' });
  return () => daemon.reply(sent, Buffer.from([0, 0, 0, 1]));
}

it('end the appliance after a limit, and leave the session idle', async () => {
  const one = await launched();
  const { events } = listen(one.session);
  jest.useFakeTimers(FAKED);
  await givenUp(one);
  jest.advanceTimersByTime(LIMIT_MS - 1);
  await quiet();
  expect(one.session.state).toBe('READY');
  expect(one.session.expireTime).toBeUndefined();
  jest.advanceTimersByTime(1);
  await quiet();
  expect(one.session.state).toBe('CONFIG');
  expect(one.session.expireTime).toBeInstanceOf(Date);
  expect(events.join('\n')).toContain('a call that its client had given up did not finish');
});

it('do nothing when they end in time', async () => {
  const one = await launched();
  jest.useFakeTimers(FAKED);
  const answer = await givenUp(one);
  jest.advanceTimersByTime(LIMIT_MS - 1);
  await answer();
  await quiet();
  jest.advanceTimersByTime(LIMIT_MS);
  await quiet();
  expect(one.session.state).toBe('READY');
});

it('do not delay the end of a session that has nothing to lose', async () => {
  const one = await launched();
  jest.useFakeTimers(FAKED);
  await givenUp(one);
  await one.session.close();
  expect(one.machine.stops).toBe(1);
  expect(one.session.state).toBe('CLOSED');
});

it('do not delay it either if they are given up while it waits', async () => {
  const one = await launched();
  jest.useFakeTimers(FAKED);
  let isAbandoned = false;
  const caller = {
    ...STEADY,
    get isAbandoned() {
      return isAbandoned;
    },
  };
  const request = { path: '/fifo', followsymlinks: undefined };
  const call = failureOf(
    one.session.perform(action('is_dir'), request, never, (daemon) => daemon.call(isDir, request), caller),
  );
  await one.daemon.nextCall();
  const closed = one.session.close();
  await quiet();
  jest.advanceTimersByTime(1000);
  await quiet();
  expect(one.machine.stops).toBe(0);
  isAbandoned = true;
  jest.advanceTimersByTime(100);
  await closed;
  expect(await call).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
});

it('have a moment to end if there is data that a sync would write', async () => {
  const one = await writing();
  jest.useFakeTimers(FAKED);
  const answer = await givenUp(one, 'mkdir');
  const closed = one.session.close();
  await quiet();
  jest.advanceTimersByTime(ABANDONED_GRACE_MS - 100);
  await quiet();
  expect(one.machine.stops).toBe(0);
  await answer();
  const sync = await one.daemon.nextCall();
  expect(sync.procedure).toBe(internalAutosync.procedure);
  await one.daemon.reply(sync);
  await closed;
});

it('are ended with the appliance after that, which the end of the session reports', async () => {
  const one = await writing();
  jest.useFakeTimers(FAKED);
  await givenUp(one, 'mkdir');
  const closed = failureOf(one.session.close());
  await quiet();
  jest.advanceTimersByTime(ABANDONED_GRACE_MS - 1);
  await quiet();
  expect(one.machine.stops).toBe(0);
  jest.advanceTimersByTime(1);
  expect(await closed).toMatchObject({
    reason: 'ETIMEDOUT',
    message: expect.stringContaining('mkdir, which its client has given up, did not end in time'),
  });
  expect(one.machine.stops).toBe(1);
});

it('leave nothing unwritten if the kernel of the appliance syncs while its daemon is busy', async () => {
  const one = await writing();
  jest.useFakeTimers(FAKED);
  one.machine.kernelSyncs = true;
  await givenUp(one, 'mkdir');
  const closed = one.session.close();
  await quiet();
  jest.advanceTimersByTime(ABANDONED_GRACE_MS);
  await closed;
  expect(one.machine.stops).toBe(1);
});

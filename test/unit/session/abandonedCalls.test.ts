/** Calls that their clients gave up, and that the daemon does not end: such as the read of a FIFO. */
import { afterEach, expect, it, jest } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { failureOf } from '../../fakes/connected.js';
import { action, launched, listen, type LaunchedSession } from '../../fakes/sessions.js';
import { quiet } from '../../fakes/duplexPair.js';

/** The idle timeout of the fake session, which is shorter than the limit. */
const LIMIT_MS = 60_000;

afterEach(() => {
  jest.useRealTimers();
});

/** A call of which the daemon has the request, and which its client gives up. */
async function givenUp({ session, daemon }: LaunchedSession): Promise<() => Promise<void>> {
  const client = new AbortController();
  const request = { path: '/fifo', followsymlinks: undefined };
  const call = session.perform(action('is_dir'), request, client.signal, (one) => one.call(isDir, request));
  const sent = await daemon.nextCall();
  client.abort(new GuestfsError('CANCELLED', 'gone'));
  expect(await failureOf(call)).toMatchObject({ reason: 'CANCELLED' });
  return () => daemon.reply(sent, Buffer.from([0, 0, 0, 1]));
}

it('end the appliance after a limit, and leave the session idle', async () => {
  const one = await launched();
  const { events } = listen(one.session);
  jest.useFakeTimers({ doNotFake: ['Date', 'nextTick', 'queueMicrotask', 'setImmediate', 'performance', 'hrtime'] });
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
  jest.useFakeTimers({ doNotFake: ['Date', 'nextTick', 'queueMicrotask', 'setImmediate', 'performance', 'hrtime'] });
  const answer = await givenUp(one);
  jest.advanceTimersByTime(LIMIT_MS - 1);
  await answer();
  await quiet();
  jest.advanceTimersByTime(LIMIT_MS);
  await quiet();
  expect(one.session.state).toBe('READY');
});

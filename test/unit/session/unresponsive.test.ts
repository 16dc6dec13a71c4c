/** Appliances that no longer answer, because qemu or the daemon hangs or was stopped. */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { pingDaemon } from '../../../gen/calls/appliance.js';
import { failureOf } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeMachine } from '../../fakes/fakeLauncher.js';
import { action, drive, listen, never, testSession, type LaunchedSession } from '../../fakes/sessions.js';
import { word } from '../../fakes/xdrBytes.js';

const LIMIT_MS = 60_000;

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'hrtime'] });
});
afterEach(() => {
  jest.useRealTimers();
});

async function watched(): Promise<LaunchedSession> {
  const { session, launcher } = testSession({}, { unresponsiveMs: LIMIT_MS });
  session.addDrive(drive, 'add_drive');
  const machine = new FakeMachine('1.54.1');
  const up = session.launch(never);
  (await launcher.request()).succeed(machine);
  await machine.daemon.launch();
  await up;
  return { session, launcher, machine, daemon: machine.daemon };
}

/** Advances the fake clock. */
async function pass(milliseconds: number): Promise<void> {
  for (let passed = 0; passed < milliseconds; passed += 1000) {
    jest.advanceTimersByTime(1000);
    await quiet();
  }
}

/** A daemon that answers every ping, and counts them. */
function answering({ daemon }: LaunchedSession): { pings: number } {
  const count = { pings: 0 };
  const work = async (): Promise<never> => {
    for (;;) {
      const call = await daemon.nextCall();
      if (call.procedure === pingDaemon.procedure) count.pings += 1;
      await daemon.reply(call);
    }
  };
  work().catch(() => undefined);
  return count;
}

function ask({ session }: LaunchedSession): Promise<unknown> {
  const request = { path: '/', followsymlinks: undefined };
  return session.perform(action('is_dir'), request, never, (daemon) => daemon.call(isDir, request));
}

describe('a session whose appliance answers', () => {
  it('stays READY, is seldom asked, and still reaches its idle timeout', async () => {
    const one = await watched();
    const count = answering(one);
    const { expireTime } = one.session;
    await pass(10 * LIMIT_MS);
    expect(one.session.state).toBe('READY');
    expect(one.session.expireTime).toEqual(expireTime);
    for (const asked of [count.pings, one.machine.pulse.asked]) {
      expect(asked).toBeGreaterThan(10);
      expect(asked).toBeLessThanOrEqual(40);
    }
  });

  it('has no pending call while the daemon is asked, and runs a call right after that', async () => {
    const one = await watched();
    await pass(LIMIT_MS / 2);
    const ping = await one.daemon.nextCall();
    expect(ping.procedure).toBe(pingDaemon.procedure);
    expect(one.session.pendingCalls).toBe(0);
    expect(one.session.expireTime).toBeDefined();
    const answer = ask(one);
    await quiet();
    expect(one.session.pendingCalls).toBe(1);
    await one.daemon.reply(ping);
    await one.daemon.reply(await one.daemon.nextCall(), word(1));
    expect(await answer).toEqual({ dirflag: true });
  });

  it('is not regarded as hung while the daemon works on a call, however long that takes', async () => {
    const one = await watched();
    const answer = ask(one);
    const call = await one.daemon.nextCall();
    await pass(10 * LIMIT_MS);
    await one.daemon.reply(call, word(1));
    expect(await answer).toEqual({ dirflag: true });
    expect(one.session.state).toBe('READY');
  });
});

describe('a session whose qemu hangs', () => {
  it('leaves READY within the limit, with an event, a reason for its calls, and qemu killed', async () => {
    const one = await watched();
    const { events } = listen(one.session);
    one.machine.pulse.answer = () => new Promise(() => undefined);
    const answer = failureOf(ask(one));
    await one.daemon.nextCall();
    const waiting = failureOf(ask(one));
    await pass(LIMIT_MS);
    expect(await answer).toMatchObject({
      reason: 'UNRESPONSIVE',
      message: expect.stringMatching(/^qemu has not answered for \d+ s: .*unknown$/),
    });
    expect(await waiting).toMatchObject({ reason: 'APPLIANCE_GONE' });
    expect(one.session.state).toBe('CONFIG');
    expect(one.machine.graces).toEqual([1000]);
    expect(events).toContain('subprocess_quit');
    expect(events.join('\n')).toContain('warning qemu has not answered');
  });

  it('reports that the machine has stopped', async () => {
    const one = await watched();
    answering(one);
    one.machine.pulse.answer = () => Promise.reject(new Error('its machine is in the state internal-error'));
    const { events } = listen(one.session);
    await pass(LIMIT_MS);
    expect(one.session.state).toBe('CONFIG');
    expect(events.join('\n')).toContain('internal-error');
  });

  it('is ended within the limit even during a shutdown, which reports why data is lost', async () => {
    const one = await watched();
    one.machine.pulse.answer = () => new Promise(() => undefined);
    const closed = failureOf(one.session.close());
    await one.daemon.nextCall(); // the sync, which is not answered
    await pass(LIMIT_MS);
    expect(await closed).toMatchObject({ reason: 'UNRESPONSIVE' });
    expect(one.session.state).toBe('CLOSED');
    expect(one.machine.graces).toEqual([1000]);
  });
});

it('a session knows within seconds whether its appliance answers', async () => {
  const one = await watched();
  const asked = one.session.answers();
  await one.daemon.reply(await one.daemon.nextCall());
  expect(await asked).toBe(true);
  const hung = one.session.answers();
  await pass(5000);
  expect(await hung).toBe(false);
  one.machine.die();
});

it('a session whose daemon hangs while it is idle is ended as well', async () => {
  const one = await watched();
  const { events } = listen(one.session);
  await pass(LIMIT_MS);
  expect(one.session.state).toBe('CONFIG');
  expect(events.join('\n')).toContain('warning the daemon has not answered');
});

it('an appliance that has ended is no longer watched', async () => {
  const one = await watched();
  answering(one);
  await one.session.kill();
  const { asked } = one.machine.pulse;
  await pass(10 * LIMIT_MS);
  expect(one.machine.pulse.asked).toBe(asked);
});

import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  inTime,
  linkedAbort,
  onAbort,
  reasonOf,
  sleep,
  unlessAborted,
  withTimeLimit,
  withTimeout,
} from '../../../src/common/waiting.js';

const enough = new GuestfsError('CANCELLED', 'enough');
const late = (): GuestfsError => new GuestfsError('ETIMEDOUT', 'too late');
const never = new Promise<never>(() => undefined);
const LONG_MS = 3_600_000;

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;
const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

/** Runs `body` and checks that it leaves no timer. */
async function leavingNoTimer(body: () => Promise<unknown>): Promise<void> {
  const before = timers();
  await body();
  // Timers of the test runner may end meanwhile.
  expect(timers()).toBeLessThanOrEqual(before);
}

describe('the reason of a signal', () => {
  it('is the one given to abort', () => {
    expect(reasonOf(AbortSignal.abort(enough))).toBe(enough);
    const other = new Error('other');
    expect(reasonOf(AbortSignal.abort(other))).toBe(other);
  });

  it('is what an AbortError wraps', () => {
    const wrapper = Object.assign(new Error('aborted', { cause: enough }), { name: 'AbortError' });
    expect(reasonOf(AbortSignal.abort(wrapper))).toBe(enough);
  });

  it('is an error even if it was aborted with something else', () => {
    expect(reasonOf(AbortSignal.abort('a string'))).toBeInstanceOf(GuestfsError);
  });
});

describe('unlessAborted', () => {
  it('settles like the promise, and leaves no listener', async () => {
    const { signal } = new AbortController();
    await expect(unlessAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(unlessAborted(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    expect(listeners(signal)).toBe(0);
  });

  it('ends with the reason, at once, and leaves no listener', async () => {
    const controller = new AbortController();
    const waiting = unlessAborted(never, controller.signal);
    expect(listeners(controller.signal)).toBe(1);
    controller.abort(enough);
    await expect(waiting).rejects.toBe(enough);
    expect(listeners(controller.signal)).toBe(0);
    await expect(unlessAborted(Promise.resolve(1), controller.signal)).rejects.toBe(enough);
  });

  it('leaves no rejection after the abort unhandled', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    try {
      let fail = (_: Error): void => undefined;
      const work = new Promise<never>((_, reject) => {
        fail = reject;
      });
      await expect(unlessAborted(work, AbortSignal.abort(enough))).rejects.toBe(enough);
      fail(new Error('later'));
      await setImmediate();
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
});

describe('onAbort', () => {
  it('calls once, and at once for a signal that has aborted', () => {
    const controller = new AbortController();
    const heard: Error[] = [];
    onAbort(controller.signal, (reason) => void heard.push(reason));
    controller.abort(enough);
    controller.abort(new Error('again'));
    onAbort(controller.signal, (reason) => void heard.push(reason));
    expect(heard).toEqual([enough, enough]);
  });

  it('stops listening', () => {
    const controller = new AbortController();
    const stop = onAbort(controller.signal, () => expect('called').toBe('not called'));
    stop();
    stop();
    expect(listeners(controller.signal)).toBe(0);
    controller.abort(enough);
  });
});

describe('withTimeout and inTime', () => {
  it('return what arrives in time, and leave no timer', async () => {
    await leavingNoTimer(async () => {
      await expect(withTimeout(LONG_MS, late, Promise.resolve(1))).resolves.toBe(1);
      await expect(withTimeout(LONG_MS, late, Promise.reject(enough))).rejects.toBe(enough);
      await expect(inTime(LONG_MS, 'late', Promise.resolve(1))).resolves.toBe(1);
      await expect(inTime(LONG_MS, 'late', Promise.reject(enough))).rejects.toBe(enough);
    });
  });

  it('end when time is up', async () => {
    await expect(withTimeout(1, late, never)).rejects.toThrow('too late');
    await expect(inTime(1, 'late', never)).resolves.toBe('late');
  });
});

describe('sleep', () => {
  it('ends after its time', async () => {
    const started = performance.now();
    await sleep(20);
    expect(performance.now() - started).toBeGreaterThanOrEqual(19);
  });

  it('ends with the reason of its signal, and leaves no timer and no listener', async () => {
    await leavingNoTimer(async () => {
      const controller = new AbortController();
      const sleeping = sleep(LONG_MS, controller.signal);
      controller.abort(enough);
      await expect(sleeping).rejects.toBe(enough);
      expect(listeners(controller.signal)).toBe(0);
      await expect(sleep(LONG_MS, controller.signal)).rejects.toBe(enough);
    });
  });
});

describe('a linked signal', () => {
  it.each([0, 1])('aborts with parent %d, and releases both', (which) => {
    const parents = [new AbortController(), new AbortController()];
    const [first, second] = parents.map(({ signal }) => signal) as [AbortSignal, AbortSignal];
    const linked = linkedAbort([first, second]);
    parents[which]?.abort(enough);
    expect(linked.signal.aborted).toBe(true);
    expect(linked.signal.reason).toBe(enough);
    expect([listeners(first), listeners(second)]).toEqual([0, 0]);
  });

  it('is aborted from the start if a parent is', () => {
    const other = new AbortController();
    const linked = linkedAbort([AbortSignal.abort(enough), other.signal]);
    expect(linked.signal.reason).toBe(enough);
    expect(listeners(other.signal)).toBe(0);
  });

  it('can abort itself, but not its parent', () => {
    const parent = new AbortController();
    const linked = linkedAbort([parent.signal]);
    linked.abort(enough);
    expect(linked.signal.reason).toBe(enough);
    expect(parent.signal.aborted).toBe(false);
  });

  it('no longer follows once it is released', () => {
    const parent = new AbortController();
    const linked = linkedAbort([parent.signal]);
    linked.release();
    linked.release();
    parent.abort(enough);
    expect(linked.signal.aborted).toBe(false);
  });
});

describe('a linked signal with a time limit', () => {
  const limit = { milliseconds: LONG_MS, makeError: late };

  it('aborts when time is up', async () => {
    const linked = linkedAbort([], { milliseconds: 1, makeError: late });
    await expect(unlessAborted(never, linked.signal)).rejects.toThrow('too late');
  });

  it('leaves no timer, however it ends', async () => {
    await leavingNoTimer(async () => {
      linkedAbort([], limit).release();
      linkedAbort([], limit).abort(enough);
      linkedAbort([AbortSignal.abort(enough)], limit);
      const parent = new AbortController();
      linkedAbort([parent.signal], limit);
      parent.abort(enough);
      await setImmediate();
    });
  });
});

describe('withTimeLimit', () => {
  it('settles like the work, and leaves neither timer nor listener', async () => {
    const { signal } = new AbortController();
    await leavingNoTimer(async () => {
      await expect(withTimeLimit(LONG_MS, late, [signal], () => Promise.resolve(1))).resolves.toBe(1);
      await expect(withTimeLimit(LONG_MS, late, [signal], () => Promise.reject(enough))).rejects.toBe(enough);
    });
    expect(listeners(signal)).toBe(0);
  });

  it('aborts the signal of the work when time is up, or when a parent aborts', async () => {
    const wait = (signal: AbortSignal): Promise<never> => unlessAborted(never, signal);
    await expect(withTimeLimit(1, late, [], wait)).rejects.toThrow('too late');
    const parent = new AbortController();
    const work = withTimeLimit(LONG_MS, late, [parent.signal], wait);
    parent.abort(enough);
    await expect(work).rejects.toBe(enough);
  });
});

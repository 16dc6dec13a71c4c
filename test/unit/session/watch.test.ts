import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import type { GuestfsError } from '../../../src/common/errors.js';
import { watch, type Watched } from '../../../src/session/watch.js';

const LIMIT_MS = 60_000;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

/** A peer that answers when the test wants it to. */
class Asked implements Watched {
  readonly name = 'it';
  asked = 0;
  last = performance.now();
  busy = false;
  answers = true;
  #answer: { resolve: () => void; reject: (error: Error) => void } | undefined;

  readonly lastAnswer = (): number => this.last;
  readonly ask = (): Promise<void> | undefined => {
    if (this.busy) return undefined;
    this.asked += 1;
    if (this.answers) {
      this.last = performance.now();
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
    });
  };

  fail(error: Error): void {
    this.#answer?.reject(error);
  }

  answer(): void {
    this.last = performance.now();
    this.#answer?.resolve();
  }
}

function watching(...all: readonly Asked[]): { readonly dead: GuestfsError[]; readonly stop: () => void } {
  const dead: GuestfsError[] = [];
  return { dead, stop: watch(all, LIMIT_MS, (error) => dead.push(error)) };
}

it('asks a silent peer a few times within the limit, but not one that has just sent something', async () => {
  const silent = new Asked();
  const talking = new Asked();
  const { dead, stop } = watching(silent, talking);
  for (let second = 0; second < 600; second += 1) {
    talking.last = performance.now();
    await jest.advanceTimersByTimeAsync(1000);
  }
  stop();
  expect(talking.asked).toBe(0);
  expect(silent.asked).toBeGreaterThan(10);
  expect(silent.asked).toBeLessThanOrEqual(40);
  expect(dead).toEqual([]);
});

it('reports a peer that does not answer within the limit, once', async () => {
  const one = new Asked();
  one.answers = false;
  const { dead } = watching(one);
  await jest.advanceTimersByTimeAsync(LIMIT_MS / 2);
  expect(dead).toEqual([]);
  await jest.advanceTimersByTimeAsync(LIMIT_MS / 2);
  expect(dead).toHaveLength(1);
  expect(dead[0]).toMatchObject({
    reason: 'UNRESPONSIVE',
    message: expect.stringMatching(/^it has not answered for \d+ s/),
  });
  await jest.advanceTimersByTimeAsync(LIMIT_MS * 10);
  expect(dead).toHaveLength(1);
});

it('accepts an answer that is late but within the limit', async () => {
  const one = new Asked();
  one.answers = false;
  const { dead, stop } = watching(one);
  for (let round = 0; round < 20; round += 1) {
    await jest.advanceTimersByTimeAsync(LIMIT_MS / 2);
    one.answer();
  }
  stop();
  expect(dead).toEqual([]);
});

it('does not count time in which this process did not run', async () => {
  const one = new Asked();
  const { dead, stop } = watching(one);
  await jest.advanceTimersByTimeAsync(LIMIT_MS / 4 - 1);
  one.answers = false;
  await jest.advanceTimersByTimeAsync(1);
  // The host slept for an hour: all timers are due at once, and no answer can have come.
  const now = performance.now();
  const clock = jest.spyOn(performance, 'now').mockReturnValue(now + 3_600_000);
  await jest.advanceTimersByTimeAsync(LIMIT_MS / 4);
  clock.mockRestore();
  expect(dead).toEqual([]);
  one.answer();
  stop();
});

it('does not ask a peer that is busy', async () => {
  const one = new Asked();
  one.busy = true;
  const { dead, stop } = watching(one);
  await jest.advanceTimersByTimeAsync(LIMIT_MS * 100);
  stop();
  expect(one.asked).toBe(0);
  expect(dead).toEqual([]);
});

it('reports a peer that answers that it does not work, unless the watch was stopped in the meantime', async () => {
  const one = new Asked();
  const other = new Asked();
  one.answers = other.answers = false;
  const { dead } = watching(one);
  const stopped = watching(other);
  await jest.advanceTimersByTimeAsync(LIMIT_MS / 2);
  one.fail(new Error('its machine is in the state internal-error'));
  other.fail(new Error('closed'));
  stopped.stop();
  await jest.advanceTimersByTimeAsync(LIMIT_MS / 2);
  expect(dead.map(({ message }) => message)).toEqual([
    expect.stringContaining('it does not work: its machine is in the state internal-error'),
  ]);
  expect(stopped.dead).toEqual([]);
});

import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Semaphore } from '../../../src/common/semaphore.js';

const never = new AbortController().signal;

/** A task that records its start and ends when the test triggers it. */
class Task {
  begun = false;
  end = (): void => undefined;
  readonly run = (): Promise<void> => {
    this.begun = true;
    return new Promise((resolve) => {
      this.end = resolve;
    });
  };
}
const tasks = (count: number): Task[] => Array.from({ length: count }, () => new Task());
const begun = (all: readonly Task[]): boolean[] => all.map((task) => task.begun);

describe('a semaphore', () => {
  it('starts as many as permitted, and the others in order', async () => {
    const turns = new Semaphore(2);
    const all = tasks(4);
    const done = all.map((task) => turns.run(task.run, never));
    expect(begun(all)).toEqual([true, true, false, false]);
    all[1]?.end();
    await done[1];
    await setImmediate();
    expect(begun(all)).toEqual([true, true, true, false]);
    all[0]?.end();
    await done[0];
    await setImmediate();
    expect(begun(all)).toEqual([true, true, true, true]);
    for (const task of all) task.end();
    await Promise.all(done);
  });

  it('continues after a failing task', async () => {
    const turns = new Semaphore(1);
    const failed = turns.run(() => Promise.reject(new Error('no')), never);
    const other = turns.run(() => Promise.resolve('done'), never);
    await expect(failed).rejects.toThrow('no');
    await expect(other).resolves.toBe('done');
    await expect(turns.run(() => Promise.resolve('again'), never)).resolves.toBe('again');
  });

  it('releases a task that gives up waiting at once, and never starts it', async () => {
    const turns = new Semaphore(1);
    const [first, second, third] = tasks(3) as [Task, Task, Task];
    const abort = new AbortController();
    const done = turns.run(first.run, never);
    const givenUp = turns.run(second.run, abort.signal);
    const last = turns.run(third.run, never);
    abort.abort(new Error('enough'));
    await expect(givenUp).rejects.toThrow('enough');
    expect(begun([first, second, third])).toEqual([true, false, false]);
    first.end();
    await done;
    await setImmediate();
    expect(begun([second, third])).toEqual([false, true]);
    third.end();
    await last;
  });

  it('does not start for a signal that has already aborted', async () => {
    const task = new Task();
    await expect(new Semaphore(1).run(task.run, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    expect(task.begun).toBe(false);
  });
});

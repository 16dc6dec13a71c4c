import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { FairSemaphore } from '../../../src/common/fairSemaphore.js';
import { clientBehind, onBehalfOf } from '../../../src/common/onBehalf.js';
import { linkedAbort } from '../../../src/common/waiting.js';

function of(client: string): AbortController {
  const controller = new AbortController();
  onBehalfOf(client, controller.signal);
  return controller;
}

function semaphore(changed: Partial<ConstructorParameters<typeof FairSemaphore>[0]> = {}): FairSemaphore {
  return new FairSemaphore({ parallel: 2, perClient: 2, waiting: 300, limit: 'tasks', tasks: 'tasks', ...changed });
}

/** Runs tasks that end one by one, in the order in which they started. */
class Tasks {
  readonly begun: string[] = [];
  readonly done: Promise<unknown>[] = [];
  readonly #ends: (() => void)[] = [];

  constructor(readonly turns: FairSemaphore) {}

  add(client: string, signal = of(client).signal): Promise<void> {
    const done = this.turns.run(async () => {
      this.begun.push(client);
      await new Promise<void>((resolve) => this.#ends.push(resolve));
    }, signal);
    done.catch(() => undefined);
    this.done.push(done);
    return done;
  }

  async endOne(): Promise<void> {
    this.#ends.shift()?.();
    await setImmediate();
  }

  async endAll(): Promise<void> {
    while (this.#ends.length > 0) await this.endOne();
    await Promise.allSettled(this.done);
  }
}

describe('a fair semaphore', () => {
  it('gives the next turn to a client that has had none, however many tasks of another wait', async () => {
    const tasks = new Tasks(semaphore());
    for (let count = 0; count < 300; count += 1) void tasks.add('many');
    void tasks.add('few');
    expect(tasks.begun).toEqual(['many', 'many']);
    await tasks.endOne();
    expect(tasks.begun).toEqual(['many', 'many', 'few']);
    await tasks.endAll();
    expect(tasks.begun).toHaveLength(301);
  });

  it('lets clients take turns', async () => {
    const tasks = new Tasks(semaphore({ parallel: 1, perClient: 1 }));
    for (const client of ['a', 'a', 'a', 'b', 'b', 'c']) void tasks.add(client);
    await tasks.endAll();
    expect(tasks.begun).toEqual(['a', 'b', 'c', 'a', 'b', 'a']);
  });

  it('leaves places for others', async () => {
    const tasks = new Tasks(semaphore({ parallel: 4, perClient: 2 }));
    for (let count = 0; count < 4; count += 1) void tasks.add('a');
    void tasks.add('b');
    expect(tasks.begun).toEqual(['a', 'a', 'b']);
    await tasks.endAll();
    expect(tasks.begun).toHaveLength(5);
  });

  it('refuses tasks if too many of the same client wait, and only those', async () => {
    const tasks = new Tasks(semaphore({ parallel: 1, waiting: 2 }));
    for (let count = 0; count < 3; count += 1) void tasks.add('a');
    await expect(tasks.add('a')).rejects.toMatchObject({
      reason: 'LIMIT_EXCEEDED',
      details: { metadata: { limit: 'tasks', maximum: '2' }, retryAfterMs: expect.any(Number) },
    });
    void tasks.add('b');
    await tasks.endAll();
    expect(tasks.begun).toEqual(['a', 'b', 'a', 'a']);
  });

  it('never starts a task that gives up waiting', async () => {
    const tasks = new Tasks(semaphore({ parallel: 1 }));
    void tasks.add('a');
    const client = of('b');
    const waiting = tasks.add('b', client.signal);
    client.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await tasks.endAll();
    void tasks.add('b');
    expect(tasks.begun).toEqual(['a', 'b']);
    await tasks.endAll();
  });

  it('continues after a failing task', async () => {
    const turns = semaphore({ parallel: 1 });
    const { signal } = of('a');
    await expect(turns.run(() => Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    await expect(turns.run(async () => 'done', signal)).resolves.toBe('done');
  });
});

describe('the client for which work is done', () => {
  it('is inherited by a signal that follows that of a call', () => {
    const call = of('a').signal;
    const first = linkedAbort([new AbortController().signal, call]).signal;
    expect(clientBehind(linkedAbort([first]).signal)).toBe('a');
    expect(clientBehind(linkedAbort([]).signal)).toBe('');
  });
});

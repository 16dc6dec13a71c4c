import { describe, expect, it } from '@jest/globals';
import { CallQueue, QUEUE_LIMIT } from '../../../src/session/callQueue.js';
import { failureOf } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { forbidWarnings } from '../../fakes/warnings.js';

forbidWarnings();

const never = new AbortController().signal;

describe('CallQueue', () => {
  it('gives the turn at once to the first', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    expect(queue.length).toBe(1);
    release();
    expect(queue.length).toBe(0);
  });

  it('gives the turn to one at a time, in order', async () => {
    const queue = new CallQueue();
    const log: string[] = [];
    const run = async (name: string): Promise<void> => {
      const release = await queue.turn(never);
      log.push(`${name} starts`);
      await quiet();
      log.push(`${name} ends`);
      release();
    };
    await Promise.all(['a', 'b', 'c', 'd'].map(run));
    expect(log).toEqual(['a starts', 'a ends', 'b starts', 'b ends', 'c starts', 'c ends', 'd starts', 'd ends']);
    expect(queue.length).toBe(0);
  });

  it('passes the turn on directly, so that no newcomer can take it', async () => {
    const queue = new CallQueue();
    const log: string[] = [];
    const first = await queue.turn(never);
    const second = queue.turn(never).then((release) => {
      log.push('second');
      return release;
    });
    first();
    const third = queue.turn(never).then((release) => {
      log.push('third');
      return release;
    });
    (await second)();
    (await third)();
    expect(log).toEqual(['second', 'third']);
  });

  it('counts running and waiting calls', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    const waiting = queue.turn(never);
    expect(queue.length).toBe(2);
    release();
    expect(queue.length).toBe(1);
    (await waiting)();
    expect(queue.length).toBe(0);
  });

  it('refuses calls over its limit, with a retry delay', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    const waiting = Array.from({ length: QUEUE_LIMIT }, () => queue.turn(never));
    const refused = await failureOf(queue.turn(never));
    expect(refused).toMatchObject({
      reason: 'QUEUE_FULL',
      details: { metadata: { limit: '128' }, retryAfterMs: expect.any(Number) },
    });
    expect(queue.length).toBe(QUEUE_LIMIT + 1);
    release();
    (await waiting[0])?.();
    const admitted = queue.turn(never);
    for (const turn of waiting.slice(1)) (await turn)();
    (await admitted)();
    expect(queue.length).toBe(0);
  });

  it('lets a waiting caller give up, and those behind it move up', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    const impatient = new AbortController();
    const reason = new Error('no more time');
    const gone = failureOf(queue.turn(impatient.signal));
    const next = queue.turn(never);
    impatient.abort(reason);
    expect(await gone).toBe(reason);
    expect(queue.length).toBe(2);
    release();
    (await next)();
    expect(queue.length).toBe(0);
  });

  it('lets all waiting callers give up in any order', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    const controllers = Array.from({ length: 5 }, () => new AbortController());
    const gone = controllers.map((controller) => failureOf(queue.turn(controller.signal)));
    for (const index of [3, 0, 4, 2, 1]) controllers[index]?.abort(new Error(String(index)));
    expect((await Promise.all(gone)).map((error) => (error as Error).message)).toEqual(['0', '1', '2', '3', '4']);
    expect(queue.length).toBe(1);
    release();
    expect(queue.length).toBe(0);
  });

  it('refuses a caller whose signal has already aborted, without taking the turn', async () => {
    const queue = new CallQueue();
    const reason = new Error('too late');
    expect(await failureOf(queue.turn(AbortSignal.abort(reason)))).toBe(reason);
    expect(queue.length).toBe(0);
    (await queue.turn(never))();
  });

  it('ignores a caller who gives up after getting the turn', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    const controller = new AbortController();
    const second = queue.turn(controller.signal);
    const third = queue.turn(never);
    release();
    controller.abort(new Error('too late'));
    const releaseSecond = await second;
    expect(queue.length).toBe(2);
    releaseSecond();
    (await third)();
    expect(queue.length).toBe(0);
  });

  it('refuses all waiting calls when the appliance has ended; the running one keeps its turn', async () => {
    const queue = new CallQueue();
    const release = await queue.turn(never);
    const waiting = [failureOf(queue.turn(never)), failureOf(queue.turn(never))];
    const reason = new Error('gone');
    queue.refuseWaiting(reason);
    expect(await Promise.all(waiting)).toEqual([reason, reason]);
    expect(queue.length).toBe(1);
    const later = queue.turn(never);
    release();
    (await later)();
    expect(queue.length).toBe(0);
  });

  it('tolerates a turn that is released twice', async () => {
    const queue = new CallQueue();
    const first = await queue.turn(never);
    const second = queue.turn(never);
    const third = queue.turn(never);
    first();
    first();
    let thirdStarted = false;
    void third.then(() => {
      thirdStarted = true;
    });
    const release = await second;
    await quiet();
    expect(thirdStarted).toBe(false);
    release();
    (await third)();
    expect(queue.length).toBe(0);
  });

  it('leaves no listener on a long-lived signal', async () => {
    const queue = new CallQueue();
    const { signal } = new AbortController();
    for (let round = 0; round < 100; round += 1) {
      const release = await queue.turn(signal);
      const waiting = queue.turn(signal);
      release();
      (await waiting)();
    }
    expect(queue.length).toBe(0); // and no warning of too many listeners
  });
});

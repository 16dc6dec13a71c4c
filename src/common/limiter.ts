/** A bound on how much is done at a time. */
import { setMaxListeners } from 'node:events';

/** Runs a task when it is its turn; a task whose signal is aborted while it waits is never begun. */
export type Limiter = <T>(task: () => Promise<T>, signal: AbortSignal) => Promise<T>;

/** Makes a limiter that runs at most `parallel` of the tasks it is given at a time, in their order. */
export function createLimiter(parallel: number): Limiter {
  let running = 0;
  const waiting = new Set<() => void>();

  /** @throws the reason of `signal` */
  const turn = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        waiting.delete(begin);
        reject(signal.reason as Error);
      };
      const begin = (): void => {
        waiting.delete(begin);
        signal.removeEventListener('abort', leave);
        resolve();
      };
      waiting.add(begin);
      // Any number may wait with one signal: that is no leak.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', leave, { once: true });
    });

  return async (task, signal) => {
    signal.throwIfAborted();
    if (running >= parallel) await turn(signal);
    else running += 1;
    try {
      return await task();
    } finally {
      // The place is handed on: nobody who comes in between can take it.
      const [next] = waiting;
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

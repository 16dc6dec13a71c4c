import { linkedAbort } from '../../src/common/waiting.js';

/** Aborts after this time, with an error named TimeoutError. */
export function lateSignal(milliseconds: number): AbortSignal {
  const makeError = (): Error => Object.assign(new Error('too late'), { name: 'TimeoutError' });
  return linkedAbort([], { milliseconds, makeError }).signal;
}

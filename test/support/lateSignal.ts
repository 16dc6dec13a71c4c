import { linkedAbort } from '../../src/common/waiting.js';

/** Aborts after so long, with an error whose name is TimeoutError. */
export function lateSignal(milliseconds: number): AbortSignal {
  const makeError = (): Error => Object.assign(new Error('too late'), { name: 'TimeoutError' });
  return linkedAbort([], { milliseconds, makeError }).signal;
}

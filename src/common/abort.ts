/** Waiting that can be given up. */

/**
 * Waits for `promise` or for `signal`, whichever comes first. The work behind
 * `promise` goes on when the wait is given up; what becomes of it is dropped.
 * @throws the reason of `signal`
 */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  // The loser of the race must not count as unhandled.
  promise.catch(() => undefined);
  signal.throwIfAborted();
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
  });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort));
}

/** Cancels calls when a signal aborts. */
interface Cancellable {
  cancel(): void;
}

/** The calls that a signal cancels. One listener serves them all: Node warns when a signal has more than ten. */
const underWay = new WeakMap<AbortSignal, Set<Cancellable>>();

function callsOf(signal: AbortSignal): Set<Cancellable> {
  const known = underWay.get(signal);
  if (known !== undefined) return known;
  const calls = new Set<Cancellable>();
  underWay.set(signal, calls);
  const cancelAll = (): void => {
    for (const call of calls) call.cancel();
  };
  signal.addEventListener('abort', cancelAll, { once: true });
  return calls;
}

/**
 * Cancels a call when one of the signals aborts, or at once if one has already aborted.
 * @returns a function to call when the call has ended
 */
export function cancelOnAbort(call: Cancellable, signals: readonly (AbortSignal | undefined)[]): () => void {
  const given = signals.filter((signal) => signal !== undefined);
  if (given.some((signal) => signal.aborted)) call.cancel();
  for (const signal of given) callsOf(signal).add(call);
  return () => {
    for (const signal of given) callsOf(signal).delete(call);
  };
}

/** The first of the signals that was aborted. */
export function abortedOf(signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  return signals.find((signal) => signal?.aborted);
}

/** Waits; if one of the signals aborts, it resolves at once. */
export async function wait(ms: number, signals: readonly (AbortSignal | undefined)[]): Promise<void> {
  if (abortedOf(signals) !== undefined) return;
  let stop = (): void => undefined;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    const cancel = (): void => {
      clearTimeout(timer);
      resolve();
    };
    stop = cancelOnAbort({ cancel }, signals);
  });
  stop();
}

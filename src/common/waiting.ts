/**
 * Waiting that ends early: when a signal aborts, or when time is up.
 *
 * All timers and abort listeners that belong to a wait are created here. Each of these functions removes its own,
 * so a signal that lives as long as a session does not accumulate listeners. `AbortSignal.any` and
 * `AbortSignal.timeout` are not used: Node 20 may garbage-collect such a signal before it fires if nothing else refers
 * to it, and each of them costs a finalizer.
 *
 * When a wait ends early, the work continues; its outcome is dropped and never counts as unhandled.
 */
import { setMaxListeners } from 'node:events';
import { GuestfsError } from './errors.js';
import { inheritClient } from './onBehalf.js';
import { inheritSpan } from './spans.js';

/**
 * Why a signal aborted: the {@link GuestfsError} that is its reason or that its `AbortError` wraps, or else its reason.
 */
export function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  const converted = GuestfsError.from(reason);
  // Not `instanceof Error`: if tests run in a separate context, the engine's own exceptions belong to another one.
  const unknownError = converted.cause === reason && typeof reason === 'object' && reason !== null;
  return unknownError ? (reason as Error) : converted;
}

/** @throws what {@link reasonOf} returns, if the signal has aborted */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw reasonOf(signal);
}

/** Creates an AbortController whose signal may have any number of listeners without a leak warning from Node. */
export function abortController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

/**
 * Calls `listener` once when the signal aborts; immediately if it has already aborted.
 * @returns a function that stops listening; may be called at any time, any number of times
 */
export function onAbort(signal: AbortSignal, listener: (reason: Error) => void): () => void {
  const abort = (): void => listener(reasonOf(signal));
  if (signal.aborted) {
    abort();
    return () => undefined;
  }
  signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}

/**
 * Waits for `promise` or for `signal`, whichever comes first.
 * @throws the error of `promise`, or the reason of `signal`
 */
export async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  promise.catch(() => undefined);
  throwIfAborted(signal);
  let stop = (): void => undefined;
  try {
    return await new Promise<Value>((resolve, reject) => {
      stop = onAbort(signal, reject);
      promise.then(resolve, reject);
    });
  } finally {
    stop();
  }
}

/** The result of `promise`, or `otherwise` if it takes longer than `milliseconds`. @throws the error of `promise` */
export async function inTime<Value, Otherwise>(
  milliseconds: number,
  otherwise: Otherwise,
  promise: Promise<Value>,
): Promise<Value | Otherwise> {
  promise.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Value | Otherwise>((resolve, reject) => {
      timer = setTimeout(() => resolve(otherwise), milliseconds);
      promise.then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
  }
}

const LATE = Symbol('late');

/**
 * Waits for `promise`, but not longer than `milliseconds`.
 * @throws the error of `promise`, or what `makeError` returns when time is up
 */
export async function withTimeout<Value>(
  milliseconds: number,
  makeError: () => Error,
  promise: Promise<Value>,
): Promise<Value> {
  const value = await inTime(milliseconds, LATE, promise);
  if (value === LATE) throw makeError();
  return value;
}

/** Waits for a time. @throws the reason of `signal` */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  try {
    await (signal === undefined ? over : unlessAborted(over, signal));
  } finally {
    clearTimeout(timer);
  }
}

/** A separate signal that also follows others. */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  /** Aborts this signal, not the ones that it follows; only the first reason counts. */
  abort(reason: unknown): void;
  /** Stops following the others, and the timer. Must be called when the work has ended; can be called twice. */
  release(): void;
}

/** How long a signal lasts. */
export interface TimeLimit {
  readonly milliseconds: number;
  /** The signal's reason when time is up. */
  readonly makeError: () => Error;
}

/** Creates a signal that aborts when the first of `parents` does, with the same reason, or when time is up. */
export function linkedAbort(parents: readonly AbortSignal[], limit?: TimeLimit): LinkedAbort {
  const controller = abortController();
  inheritClient(controller.signal, parents);
  inheritSpan(controller.signal, parents);
  let timer: NodeJS.Timeout | undefined;
  const stops: (() => void)[] = [];
  const release = (): void => {
    clearTimeout(timer);
    for (const stop of stops.splice(0)) stop();
  };
  const abort = (reason: unknown): void => {
    controller.abort(reason);
    release();
  };
  for (const parent of parents) stops.push(onAbort(parent, abort));
  if (controller.signal.aborted) release();
  else if (limit !== undefined) timer = setTimeout(() => abort(limit.makeError()), limit.milliseconds);
  return { signal: controller.signal, abort, release };
}

/**
 * Runs `work` with a signal that aborts with the first of `parents`, or after `milliseconds` with what `makeError`
 * returns. `work` decides how it ends: it is waited for in any case.
 */
export async function withTimeLimit<Value>(
  milliseconds: number,
  makeError: () => Error,
  parents: readonly AbortSignal[],
  work: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const limited = linkedAbort(parents, { milliseconds, makeError });
  try {
    return await work(limited.signal);
  } finally {
    limited.release();
  }
}

/** What is fuzzed: some code that reads bytes of somebody who may be hostile. */

import { now } from './clock.js';

export interface Target {
  readonly name: string;
  /** What it covers, for people. */
  readonly about: string;
  /** Longest input that is kept and mutated, bytes. */
  readonly longest: number;
  /**
   * Length to which some inputs are stretched, by repeating a part of them: what is slow, or takes memory, only when
   * there is much of it. Bytes.
   */
  readonly stretched: number;
  /** Valid inputs, and what else is worth to begin with; made with the project's own code. */
  seeds(): readonly Buffer[] | Promise<readonly Buffer[]>;
  /**
   * Runs the code on an input. Throws when the code did what it must not do: refusing the input, with an error of the
   * kind that the code may throw, is no failure.
   */
  run(input: Buffer): void | Promise<void>;
}

/** The longest turn of the last run, milliseconds; undefined: the run did not say, and is one turn as a whole. */
let longestTurn: number | undefined;

/**
 * Does what the server does in one turn of its event loop: with one piece of what it reads, for example. The time limit is
 * for that, and not for what the target checks, nor for all pieces together.
 */
export function turn<Value>(work: () => Value): Value {
  const started = now();
  try {
    return work();
  } finally {
    longestTurn = Math.max(longestTurn ?? 0, now() - started);
  }
}

/** The length of the last run in turns of the event loop, and begins with a new one. */
export function takeLongestTurn(): number | undefined {
  const taken = longestTurn;
  longestTurn = undefined;
  return taken;
}

/** An invariant does not hold. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Fails unless something holds. */
export function ensure(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Violation(what);
}

type ErrorClass = abstract new (...args: never[]) => Error;

/** What `work` returns; undefined if it refuses its input with one of these errors. */
export function unlessRefused<Value>(allowed: readonly ErrorClass[], work: () => Value): Value | undefined {
  try {
    return work();
  } catch (error) {
    if (allowed.some((one) => error instanceof one)) return undefined;
    throw error;
  }
}

/** The same for what takes its time. */
export async function unlessRejected<Value>(
  allowed: readonly ErrorClass[],
  work: () => Promise<Value>,
): Promise<Value | undefined> {
  try {
    return await work();
  } catch (error) {
    if (allowed.some((one) => error instanceof one)) return undefined;
    throw error;
  }
}

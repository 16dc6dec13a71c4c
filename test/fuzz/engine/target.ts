/** What is fuzzed: some code that reads bytes of somebody who may be hostile. */

import { isExact, now } from './clock.js';

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

/** Turns that may be too long, milliseconds: those alone are measured exactly, which takes time itself. */
const LONG_MS = 10;

/** Turns of the current run. */
let turns = 0;
/** The longest of them, milliseconds. */
let longest = 0;
/** Numbers of those that were long when they were not yet measured exactly. */
const long = new Set<number>();

/**
 * Does what the server does in one turn of its event loop: with one piece of what it reads, for example. The time limit is
 * for that, and not for what the target checks, nor for all pieces together.
 */
export function turn<Value>(work: () => Value): Value {
  const number = turns;
  turns += 1;
  if (isExact() && !long.has(number)) return work();
  const started = now();
  try {
    return work();
  } finally {
    const ms = now() - started;
    longest = Math.max(longest, ms);
    if (ms > LONG_MS && !isExact()) long.add(number);
  }
}

/** Forgets the turns of the run before; if that is to be repeated exactly, not which of them were long. */
export function beginRun(): void {
  turns = 0;
  longest = 0;
  if (!isExact()) long.clear();
}

/** The longest turn of the run, milliseconds; undefined: the run did not say, and is one turn as a whole. */
export function longestTurn(): number | undefined {
  return turns === 0 ? undefined : longest;
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

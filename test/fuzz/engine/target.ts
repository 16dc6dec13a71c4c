/** A target of fuzzing: code that reads bytes from a source that may be hostile. */

import { isExact, now } from './clock.js';

export interface Target {
  readonly name: string;
  /** What it covers, for people. */
  readonly about: string;
  /** Longest input that is kept and mutated, bytes. */
  readonly longest: number;
  /**
   * Length to which some inputs are stretched, by repeating a part of them, bytes. This finds code that is slow, or
   * takes much memory, only for long inputs.
   */
  readonly stretched: number;
  /** Inputs to start with, most of them valid; made with the project's own code. */
  seeds(): readonly Buffer[] | Promise<readonly Buffer[]>;
  /**
   * Runs the code on an input. Throws if the code misbehaves; refusing the input with an error that the code may throw
   * is not a failure.
   */
  run(input: Buffer): void | Promise<void>;
}

/** Only turns longer than this are measured exactly, because exact measurements take time themselves; milliseconds. */
const LONG_MS = 10;

/** Number of turns of the current run. */
let turns = 0;
/** The longest of them, milliseconds. */
let longest = 0;
/** Numbers of the turns that seemed long before they were measured exactly. */
const long = new Set<number>();

/**
 * Does what the server does in one turn of its event loop, such as processing one piece of its input. The time limit
 * applies to this work only, not to the checks of the target, nor to all pieces together.
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

/** Forgets the turns of the previous run; keeps which of them were long if that run is about to be measured exactly. */
export function beginRun(): void {
  turns = 0;
  longest = 0;
  if (!isExact()) long.clear();
}

/** The longest turn of the run, milliseconds; undefined: the run did not mark any, and counts as one turn. */
export function longestTurn(): number | undefined {
  return turns === 0 ? undefined : longest;
}

/** Thrown when an invariant does not hold. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Throws a {@link Violation} unless a condition holds. */
export function ensure(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Violation(what);
}

type ErrorClass = abstract new (...args: never[]) => Error;

/** The result of `work`; undefined if it refuses its input with one of these errors. */
export function unlessRefused<Value>(allowed: readonly ErrorClass[], work: () => Value): Value | undefined {
  try {
    return work();
  } catch (error) {
    if (allowed.some((one) => error instanceof one)) return undefined;
    throw error;
  }
}

/** As {@link unlessRefused}, for asynchronous work. */
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

/** Shutdown of the server: all parts in order, even if one of them fails, and within a time limit. */
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { inTime, linkedAbort } from '../common/waiting.js';

/** A part of the server that has to be shut down. */
export interface Part {
  /** What it is, for the log. */
  readonly name: string;
  /**
   * Resolves once everything that it held is released; if data was lost, rejects instead, also only then.
   * @param grace aborts when the part has to end at once, even if data is lost by that
   */
  end(grace: AbortSignal): Promise<unknown>;
}

/** How long the parts together have, milliseconds. */
export interface ShutdownLimits {
  /** To end in an orderly way. */
  readonly graceMs: number;
  /** ... and after that, to be killed: longer than a kill ever takes. */
  readonly killMs?: number;
}

const KILL_MS = 5000;

/**
 * Shuts parts down one after the other; a failure is logged and does not stop the others. A part that does not end even
 * when it is killed is left behind, and counts as failed.
 * @returns true if none failed
 */
export async function endInOrder(
  parts: readonly Part[],
  { graceMs, killMs = KILL_MS }: ShutdownLimits,
  logger: Logger,
): Promise<boolean> {
  let clean = true;
  const last = performance.now() + graceMs + killMs;
  const grace = linkedAbort([], {
    milliseconds: graceMs,
    makeError: () => new GuestfsError('ETIMEDOUT', `the shutdown took longer than ${graceMs / 1000} s`),
  });
  const stuck = Symbol('stuck');
  for (const part of parts) {
    try {
      if ((await inTime(Math.max(last - performance.now(), 0), stuck, part.end(grace.signal))) === stuck)
        throw new Error(`it did not end within ${(graceMs + killMs) / 1000} s, even by force, and is left behind`);
    } catch (err) {
      clean = false;
      logger.error('shutdown failed', { part: part.name, err });
    }
  }
  grace.release();
  return clean;
}

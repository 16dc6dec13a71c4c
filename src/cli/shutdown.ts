/** Shutdown of the server: all parts in order, even if one of them fails. */
import type { Logger } from '../common/logger.js';

/** A part of the server that has to be shut down. */
export interface Part {
  /** What it is, for the log. */
  readonly name: string;
  /** Resolves when all it held is free; rejects, then too, when something was lost. */
  end(): Promise<unknown>;
}

/**
 * Shuts parts down in order; a failure is logged and does not stop the others.
 * @returns true if none failed
 */
export async function endInOrder(parts: readonly Part[], logger: Logger): Promise<boolean> {
  let clean = true;
  for (const part of parts) {
    try {
      await part.end();
    } catch (err) {
      clean = false;
      logger.error('shutdown failed', { part: part.name, err });
    }
  }
  return clean;
}

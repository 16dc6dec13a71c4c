/** Shutdown of the server: ends all parts, one after the other, even if one of them fails. */
import type { Logger } from '../common/logger.js';

/** A part of the server that has to be shut down. */
export interface Part {
  /** What it is, for the log. */
  readonly name: string;
  /** Settles when all its resources are released; rejects if something was lost. */
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

/** The end of the server: its parts one after another, whatever becomes of each. */
import type { Logger } from '../common/logger.js';

/** Something of the server that has to be ended. */
export interface Part {
  /** What it is, for the log. */
  readonly name: string;
  /** Resolves when all it held is free; rejects, then too, when something was lost. */
  end(): Promise<unknown>;
}

/**
 * Ends parts in order; one that fails is logged, and those after it are ended all the same.
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

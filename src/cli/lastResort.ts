/**
 * Errors that nobody handled. Each is a defect; but sessions that have nothing to do with it are not to lose their data
 * for it, as they would if the process died: the server drains and exits.
 */
import type { Logger } from '../common/logger.js';

/** Calls `end` once, at the first error that nobody handled; all of them are logged. */
export function drainOnUnhandled(logger: Logger, end: () => void): void {
  let ending = false;
  // Rejected promises that nobody handles come here as well.
  process.on('uncaughtException', (err, origin) => {
    logger.error('unhandled error: the server shuts down', { origin, err });
    if (ending) return;
    ending = true;
    end();
  });
}

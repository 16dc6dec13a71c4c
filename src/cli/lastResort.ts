/**
 * Unhandled errors. Each is a defect, but unrelated sessions must not lose data because of it, as they would if the
 * process crashed: the server drains and exits.
 */
import type { Logger } from '../common/logger.js';

/** Lets the server continue when the program that reads its output has gone: a log cannot report that it is lost. */
export function survivesLostOutput(): void {
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
}

/** Calls `end` once, at the first unhandled error; all of them are logged. */
export function drainOnUnhandled(logger: Logger, end: () => void): void {
  let ending = false;
  // Unhandled rejections arrive here as well.
  process.on('uncaughtException', (err, origin) => {
    logger.error('unhandled error: the server shuts down', { origin, err });
    if (ending) return;
    ending = true;
    end();
  });
}

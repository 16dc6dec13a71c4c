/** Files that are reloaded while the server runs: on SIGHUP, and some of them whenever they change. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { systemErrorCode } from '../security/pathPolicy.js';
import type { Logger } from '../common/logger.js';

/** Something that is reloaded. */
export interface Reloaded {
  /** What it is, for the log. */
  readonly what: string;
  /** Its files, if they are watched. */
  readonly watched?: readonly string[];
  readonly reload: () => Promise<void>;
}

/**
 * Files are compared by content: mounted secrets are replaced as a directory, through links, and events for that
 * depend on the file system.
 */
const INTERVAL_MS = 5000;

async function contentsOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths)
    hash.update(await readFile(path).catch((error: unknown) => systemErrorCode(error) ?? String(error))).update('\0');
  return hash.digest('hex');
}

/** Starts to check for changes; a file that is unreadable or invalid changes nothing, and is logged. */
export async function keepReloading(
  { what, watched = [], reload }: Reloaded,
  logger: Logger,
  intervalMs: number = INTERVAL_MS,
): Promise<void> {
  let running: Promise<void> = Promise.resolve();
  const again = async (): Promise<void> => {
    try {
      await reload();
      logger.info(`${what} reloaded`);
    } catch (err) {
      logger.error(`${what} cannot be reloaded; the old content stays in use`, { err });
    }
  };
  process.on('SIGHUP', () => {
    running = running.then(again);
  });
  if (watched.length === 0) return;
  let seen = await contentsOf(watched);
  const look = async (): Promise<void> => {
    const contents = await contentsOf(watched);
    if (contents === seen) return;
    seen = contents;
    await again();
  };
  setInterval(() => {
    running = running.then(look);
  }, intervalMs).unref();
}

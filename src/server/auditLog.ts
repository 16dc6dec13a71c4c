/**
 * The audit log: one line of JSON for each call that changes something, whether it was carried out or refused. It is
 * separate from the server's log.
 */
import { pino } from 'pino';
import type { Logger } from '../common/logger.js';

/** What is recorded about a call. */
export interface AuditEntry {
  /** When it was answered, ISO 8601, UTC. */
  readonly time: string;
  /** Who made the call; missing on a server without identities, and if the client did not prove its identity. */
  readonly identity?: string | undefined;
  readonly session?: string | undefined;
  readonly action: string;
  /** Paths, labels and names of images and drives, as given by the client. */
  readonly images?: readonly string[] | undefined;
  /** `OK`, or the reason of the failure. */
  readonly outcome: string;
}

export interface AuditLog {
  write(entry: AuditEntry): void;
  /** Reopens the file, after it was renamed. */
  reopen(): void;
}

const STANDARD_OUTPUT = 1;
/** Control characters that JSON does not escape, and what else ends a line for some readers. */
const UNSEEN = /[\u007f-\u009f\u2028\u2029]/g;
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
/** Only the server's user may read the log, which contains paths of the host. */
const MODE = 0o600;

/**
 * Opens an audit log for appending.
 * @param path of the file, or `-` for standard output
 * @throws Error of the file system
 */
export function openAuditLog(path: string, logger: Logger): AuditLog {
  const toFile = path !== '-';
  // Each line is written before the call continues, so none is lost if the server is killed.
  const lines = pino.destination({ dest: toFile ? path : STANDARD_OUTPUT, append: true, sync: true, mode: MODE });
  const failed = (err: unknown): void => logger.error('the audit log cannot be written', { audit: path, err });
  lines.on('error', failed);
  return {
    write: (entry) => void lines.write(`${JSON.stringify(entry).replace(UNSEEN, escaped)}\n`),
    reopen: () => {
      if (!toFile) return;
      try {
        lines.reopen();
      } catch (error) {
        failed(error);
      }
    },
  };
}

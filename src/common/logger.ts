/** Structured log lines on standard error: one JSON object per line, written by pino. */
import { pino, stdTimeFunctions } from 'pino';

/** Log levels, least to most severe. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * The fields of a log line. Every line also has `time` (ISO 8601, UTC), `level` (a word) and `msg`,
 * whose names are not available for fields.
 */
export interface LogFields {
  readonly time?: never;
  readonly level?: never;
  readonly msg?: never;
  /** A thrown value; an Error is logged with type, message, stack and causes. */
  readonly err?: unknown;
  /** ID of the session that the line is about. */
  readonly session?: string | undefined;
  /** libguestfs's name for the action or, for an RPC that is not an action, the name of the RPC. */
  readonly action?: string | undefined;
  /** Who made the call. */
  readonly identity?: string | undefined;
  readonly [name: string]: unknown;
}

/** Writes log lines; `child` adds fields to every line of the new logger. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

/** Names whose values are never logged. */
const SECRET_NAMES = [
  'key',
  'keys',
  'passphrase',
  'password',
  'secret',
  'token',
  'credentials',
  'authorization',
  'cookie',
];
/** How deep in a line such names are redacted: `err.aggregateErrors.0.details.metadata.key` is at 5. */
const REDACTED_DEPTH = 5;
const REDACTED_PATHS = SECRET_NAMES.flatMap((name) =>
  Array.from({ length: REDACTED_DEPTH + 1 }, (_, depth) => `${'*.'.repeat(depth)}${name}`),
);

/** Creates a logger that drops lines below `level`. */
export function createLogger(
  level: LogLevel | 'silent',
  write: (line: string) => void = (line) => void process.stderr.write(line),
): Logger {
  const lines = pino(
    {
      level,
      // Neither process ID nor host name: log collectors know where the lines come from.
      base: undefined,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED_PATHS, censor: '[redacted]' },
    },
    { write },
  );
  const make = (bound: LogFields): Logger => {
    // Bound fields are merged here: pino's own children repeat the name of a field that a line also gives.
    const log =
      (at: LogLevel) =>
      (message: string, fields: LogFields = {}): void =>
        lines[at]({ ...bound, ...fields }, message);
    return {
      debug: log('debug'),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make({});
}

/** A logger that discards everything. */
export const silentLogger: Logger = createLogger('silent');

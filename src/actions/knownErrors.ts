/** Constructors for the errors of single actions. */
import type { KnownError } from './types.js';

/**
 * One way to fail.
 * @param status name of the gRPC status
 * @param reason `reason` of ErrorInfo
 * @param when the condition, as the end of a sentence
 */
export function error(status: string, reason: string, when: string): KnownError {
  return { status, reason, when };
}

/** An argument with a value that the action does not accept. */
export function badArgument(when: string): KnownError {
  return error('INVALID_ARGUMENT', 'BAD_ARGUMENT', when);
}

export const NOT_A_FILE = error('UNKNOWN', 'DAEMON_ERROR', 'the path is a directory');

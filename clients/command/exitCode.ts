/** The exit code of a command that failed: whether it makes sense to repeat it. */
import { status } from '@grpc/grpc-js';
import { GuestfsRpcError } from '../typescript/src/error.js';

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;
/** The same command can succeed later: EX_TEMPFAIL of sysexits.h. */
export const EXIT_TRY_AGAIN = 75;

/** Without the service's details, what a lost connection or a proxy looks like. */
const ON_THE_WAY: ReadonlySet<status> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.UNKNOWN,
]);
/** The appliance has ended, and not for a reason that lies in the image. An inspection changes nothing, so it can be repeated. */
const ENDED: ReadonlySet<string> = new Set(['OUTCOME_UNKNOWN', 'UNRESPONSIVE']);

/** @param error what the command failed with */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Error && error.name === 'UsageError') return EXIT_USAGE;
  if (!(error instanceof GuestfsRpcError)) return EXIT_FAILURE;
  const { info, code } = error;
  const again = info === undefined ? ON_THE_WAY.has(code) : info.retryAfterMs !== undefined || ENDED.has(info.reason);
  return again ? EXIT_TRY_AGAIN : EXIT_FAILURE;
}

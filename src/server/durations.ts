/** google.protobuf.Duration and milliseconds. */
import type { Duration } from '../../gen/proto/google/protobuf/duration.js';
import { badArgument } from '../common/errors.js';

const SECOND_MS = 1000;
const MILLISECOND_NS = 1_000_000;
const SECOND_NS = 1_000_000_000n;

/** The sign of both numbers is the same, and the second less than a second: JSON cannot express anything else. */
export function toDuration(milliseconds: number): Duration {
  const nanoseconds = BigInt(Math.round(milliseconds * MILLISECOND_NS));
  return { seconds: nanoseconds / SECOND_NS, nanos: Number(nanoseconds % SECOND_NS) };
}

/** Maximum delay of a Node timer, milliseconds. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

/**
 * Milliseconds of a duration.
 * @throws GuestfsError BAD_ARGUMENT unless it is more than zero and at most 24 days
 */
export function fromDuration(field: string, duration: Duration): number {
  const milliseconds = Number(duration.seconds) * SECOND_MS + duration.nanos / MILLISECOND_NS;
  if (milliseconds > 0 && milliseconds <= TIMER_MAX_MS) return milliseconds;
  throw badArgument(field, 'must be more than zero, and at most 24 days');
}

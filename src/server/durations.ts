/** google.protobuf.Duration and milliseconds. */
import type { Duration } from '../../gen/proto/google/protobuf/duration.js';
import { badArgument } from '../common/errors.js';

const SECOND_MS = 1000;
const MILLISECOND_NS = 1_000_000;

export function toDuration(milliseconds: number): Duration {
  const seconds = Math.floor(milliseconds / SECOND_MS);
  return { seconds: BigInt(seconds), nanos: Math.round((milliseconds - seconds * SECOND_MS) * MILLISECOND_NS) };
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

/** Durations of protobuf, from milliseconds. */
import { expect, it } from '@jest/globals';
import { toDuration } from '../../../src/server/durations.js';

it.each([
  [0, 0n, 0],
  [1500, 1n, 500_000_000],
  [-0.25, 0n, -250_000],
  [-1500, -1n, -500_000_000],
  [999.9999999, 1n, 0],
  [86_400_000, 86_400n, 0],
])('%s ms has seconds and nanoseconds of one sign', (milliseconds, seconds, nanos) => {
  const duration = toDuration(milliseconds);
  expect(duration.seconds).toBe(seconds);
  expect(duration.nanos === nanos).toBe(true);
});

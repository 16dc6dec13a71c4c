/** C strings, which end at the first zero byte. */

/** Everything before the first zero byte. */
export function upToZero(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

const INT_PATTERN = /^[ \t\n\v\f\r]*[+-]?\d+$/;
/** Largest int32. */
const INT_MAX = 2 ** 31 - 1;

/**
 * Parses an entire text as a number, as strtol does; undefined if it is not a number or does not fit into an int32.
 */
export function wholeNumber(text: string): number | undefined {
  const number = INT_PATTERN.test(text) ? Number(text) : NaN;
  return Math.abs(number) <= INT_MAX ? number : undefined;
}

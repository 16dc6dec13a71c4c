/** Strings as C has them, which end at the first zero byte. */

/** All before the first zero byte. */
export function upToZero(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

const INT_PATTERN = /^[ \t\n\v\f\r]*[+-]?\d+$/;
/** Largest int32. */
const INT_MAX = 2 ** 31 - 1;

/**
 * A number that is all of a text, as strtol reads it; undefined if it is not one, or none that
 * an int32 of a message holds.
 */
export function wholeNumber(text: string): number | undefined {
  const number = INT_PATTERN.test(text) ? Number(text) : NaN;
  return Math.abs(number) <= INT_MAX ? number : undefined;
}

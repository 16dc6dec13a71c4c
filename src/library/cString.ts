/** Strings as C has them, which end at the first zero byte. */

/** All before the first zero byte. */
export function upToZero(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

const INT_PATTERN = /^[ \t\n\v\f\r]*[+-]?\d+$/;

/** A number that is all of a text, as strtol reads it; undefined if it is not one. */
export function wholeNumber(text: string): number | undefined {
  return INT_PATTERN.test(text) ? Number(text) : undefined;
}

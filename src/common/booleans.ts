/** Boolean words, as libguestfs parses them in settings and the environment. */

const TRUE: ReadonlySet<string> = new Set(['1', 'true', 't', 'yes', 'y', 'on']);
const FALSE: ReadonlySet<string> = new Set(['0', 'false', 'f', 'no', 'n', 'off']);

/** Parses a boolean word, ignoring case; undefined if it is none. */
export function isTrue(word: string): boolean | undefined {
  const lower = word.toLowerCase();
  if (TRUE.has(lower)) return true;
  return FALSE.has(lower) ? false : undefined;
}

/** Versions of guestfsd, which decide what it understands. */

/** Major, minor and micro version. */
type Parts = readonly [number, number, number];

/** The versions that this code compares with, which are few; nearly every call compares with one. */
const compared = new Map<string, Parts>();

function partsOf(text: string): Parts {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (!match) throw new Error(`not a libguestfs version: ${text}`);
  return [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

function comparedParts(text: string): Parts {
  let parts = compared.get(text);
  if (parts === undefined) compared.set(text, (parts = partsOf(text)));
  return parts;
}

/** A version such as 1.54.1; parts that are not given count as zero. */
export class DaemonVersion {
  readonly #parts: Parts;

  constructor(readonly text: string) {
    this.#parts = partsOf(text);
  }

  /** True if this is `version` or newer. */
  atLeast(version: string): boolean {
    const other = comparedParts(version);
    for (let index = 0; index < this.#parts.length; index += 1) {
      const difference = (this.#parts[index] ?? 0) - (other[index] ?? 0);
      if (difference !== 0) return difference > 0;
    }
    return true;
  }

  /** True if this belongs to the release series `series` (such as 1.48) or an older one. */
  upTo(series: string): boolean {
    const other = comparedParts(series);
    const [major, minor] = this.#parts;
    return major < other[0] || (major === other[0] && minor <= other[1]);
  }
}

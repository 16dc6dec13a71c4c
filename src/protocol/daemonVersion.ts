/** Versions of guestfsd, which decide what it understands. */

/** A version such as 1.54.1; parts that are not given count as zero. */
export class DaemonVersion {
  readonly #parts: readonly number[];

  constructor(readonly text: string) {
    const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
    if (!match) throw new Error(`not a libguestfs version: ${text}`);
    this.#parts = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  }

  /** True if this is `version` or newer. */
  atLeast(version: string): boolean {
    const other = new DaemonVersion(version).#parts;
    for (let index = 0; index < this.#parts.length; index += 1) {
      const difference = (this.#parts[index] ?? 0) - (other[index] ?? 0);
      if (difference !== 0) return difference > 0;
    }
    return true;
  }

  /** True if this belongs to the release series `series` (such as 1.48) or an older one. */
  upTo(series: string): boolean {
    const other = new DaemonVersion(series).#parts;
    const [major = 0, minor = 0] = this.#parts;
    return major < (other[0] ?? 0) || (major === other[0] && minor <= (other[1] ?? 0));
  }
}

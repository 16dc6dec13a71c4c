/** The date that a build gives to everything instead of its own, so that builds at different times are identical. */

/** Seconds since 1970, as file systems have times. */
export function toSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

/**
 * The environment of programs that would write the current date otherwise; see
 * https://reproducible-builds.org/specs/source-date-epoch.
 */
export function sourceDateEnv(date: Date): Readonly<Record<string, string>> {
  const seconds = String(toSeconds(date));
  // The last one is for e2fsprogs older than 1.47.1.
  return { TZ: 'UTC', SOURCE_DATE_EPOCH: seconds, E2FSPROGS_FAKE_TIME: seconds };
}

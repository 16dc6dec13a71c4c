/** The Debian releases that an appliance can be made of. */

/** What differs between releases, as far as a build has to know. */
export interface Suite {
  /** Codename, as the archive knows it. */
  readonly name: string;
  /**
   * Whether `/bin`, `/sbin` and `/lib` have to be made links into `/usr` by the
   * builder; later releases ship the links in base-files.
   */
  readonly mergeUsr: boolean;
  /** Whether it has the companion suites `-updates` and `-security`. */
  readonly stable: boolean;
}

const SUITES: readonly Suite[] = [
  { name: 'bookworm', mergeUsr: true, stable: true },
  { name: 'trixie', mergeUsr: false, stable: true },
  { name: 'forky', mergeUsr: false, stable: false },
  { name: 'sid', mergeUsr: false, stable: false },
];

/** The suite whose appliance is made when none is named. */
export const DEFAULT_SUITE = 'trixie';

/** The names that {@link findSuite} knows. */
export const suiteNames: readonly string[] = SUITES.map((suite) => suite.name);

/**
 * Looks a suite up.
 * @throws Error naming the known ones
 */
export function findSuite(name: string): Suite {
  const suite = SUITES.find((candidate) => candidate.name === name);
  if (suite === undefined) {
    throw new Error(`unknown suite '${name}'; an appliance can be made of ${suiteNames.join(', ')}`);
  }
  return suite;
}

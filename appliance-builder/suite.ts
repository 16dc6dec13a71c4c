/** The Debian releases that an appliance can be built from. */

/** The differences between releases that matter to a build. */
export interface Suite {
  /** Codename, as used in the archive. */
  readonly name: string;
  /**
   * Whether the builder has to turn `/bin`, `/sbin` and `/lib` into links to
   * `/usr`; later releases ship the links in base-files.
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

/** The suite that is used if none is given. */
export const DEFAULT_SUITE = 'trixie';

/** The names that {@link findSuite} knows. */
export const suiteNames: readonly string[] = SUITES.map((suite) => suite.name);

/**
 * Looks up a suite.
 * @throws Error naming the known suites
 */
export function findSuite(name: string): Suite {
  const suite = SUITES.find((candidate) => candidate.name === name);
  if (suite === undefined) {
    throw new Error(`unknown suite '${name}'; an appliance can be built from ${suiteNames.join(', ')}`);
  }
  return suite;
}

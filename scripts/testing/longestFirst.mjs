/**
 * The order of test files: the longest first, so that no worker waits long for the other at the end. Jest knows how
 * long files took only where it has run them before, and otherwise goes by their size.
 */
import { createRequire } from 'node:module';
import { basename } from 'node:path';

/** Its types are those of the CommonJS module. @type {typeof import('@jest/test-sequencer')} */
const { default: Sequencer } = createRequire(import.meta.url)('@jest/test-sequencer');

/** The files that take a minute or more on two cores, in order of their time. Unit tests come after the others. */
export const LONG_FILES = [
  'inspectOdd',
  'launchKinds',
  'inspection',
  'templates',
  'examples',
  'pythonPrograms',
  'inspect',
  'hotDrives',
  'escapes',
  'jail',
  'launch',
  'knownErrors',
  'takenOver',
  'swaps',
  'remoteDrives',
  'hostileClients',
  'simulation',
  'webClient',
  'replicas',
];

/** @param {import('@jest/test-result').Test} test */
function rankOf({ path }) {
  const [name = ''] = basename(path).split('.');
  const rank = LONG_FILES.indexOf(name);
  return rank < 0 ? LONG_FILES.length : rank;
}

export default class LongestFirst extends Sequencer {
  /**
   * @override
   * @param {import('@jest/test-result').Test[]} tests
   */
  async sort(tests) {
    const others = await super.sort(tests);
    // A stable sort: the others stay in their order.
    return others.toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}

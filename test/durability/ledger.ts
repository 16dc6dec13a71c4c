/**
 * What a file system must hold after a crash: everything that was changed before a promise of durability was answered,
 * and for each file that was changed since, either state or one in between.
 */

/** The SHA-256 of a file's content; undefined: there is no such file. */
export type State = string | undefined;

/** A change that one call makes. */
export interface Change {
  readonly path: string;
  readonly state: State;
  /** It changes names alone: after a crash the file has this state or an earlier one, and nothing in between. */
  readonly atomic: boolean;
}

/** What a file may be. */
export interface Expectation {
  /** All states since the last promise, with the state at that time first. */
  readonly states: readonly State[];
  /** Anything that can be read is permitted, because its content was being changed. */
  readonly any: boolean;
}

interface Entry {
  /** Position at which the calls were sent, or the promise was answered. */
  readonly at: number;
  readonly changes: readonly Change[] | 'durable';
  /** Files that a promise does not include. */
  readonly except?: ReadonlySet<string>;
}

/** How a file system compares with what it must hold. */
export interface Comparison {
  /** What is wrong, for people. */
  readonly faults: readonly string[];
  /** Files whose state had been promised. */
  readonly promised: number;
  /** Files changed since the last promise, and how many of them have the newest state nevertheless. */
  readonly open: number;
  readonly newest: number;
}

export class Ledger {
  readonly #entries: Entry[] = [];

  /** @param initial what was durable at the beginning */
  constructor(readonly initial: ReadonlyMap<string, string> = new Map()) {}

  /** Notes what a call will change if it succeeds; called before it is sent. */
  change(at: number, changes: readonly Change[]): void {
    this.#entries.push({ at, changes });
  }

  /**
   * A promise of durability was answered: what calls changed that were answered before holds from now on.
   * @param except files that a call was changing whose answer did not arrive
   */
  promise(at: number, except: ReadonlySet<string> = new Set()): void {
    this.#entries.push({ at, changes: 'durable', except });
  }

  /** Positions at which promises were answered. */
  get promises(): readonly number[] {
    return this.#entries.filter(({ changes }) => changes === 'durable').map(({ at }) => at);
  }

  /** What must be there if the crash was at this position. */
  expected(at = Infinity): Map<string, Expectation> {
    const expected = new Map<string, Expectation>(
      [...this.initial].map(([path, state]) => [path, { states: [state], any: false }]),
    );
    for (const entry of this.#entries) {
      if (entry.at > at) break;
      if (entry.changes === 'durable') {
        for (const [path, { states }] of expected)
          if (entry.except?.has(path) !== true) expected.set(path, { states: states.slice(-1), any: false });
        continue;
      }
      for (const { path, state, atomic } of entry.changes) {
        const before = expected.get(path) ?? { states: [undefined], any: false };
        expected.set(path, { states: [...before.states, state], any: before.any || !atomic });
      }
    }
    return expected;
  }

  /** Compares files, by their paths, with what must be there. */
  compare(files: ReadonlyMap<string, string>, at?: number): Comparison {
    const expected = this.expected(at);
    const faults: string[] = [];
    let [promised, open, newest] = [0, 0, 0];
    for (const path of files.keys()) if (!expected.has(path)) faults.push(`${path}: nobody made this file`);
    for (const [path, { states, any }] of expected) {
      const found = files.get(path);
      if (states.length === 1) {
        promised += states[0] === undefined ? 0 : 1;
        if (found !== states[0]) faults.push(`${path}: ${shown(found)}, but ${shown(states[0])} was acknowledged`);
        continue;
      }
      open += 1;
      if (found === states.at(-1)) newest += 1;
      if (!any && !states.includes(found))
        faults.push(`${path}: ${shown(found)}, which it never was since the last promise`);
    }
    return { faults, promised, open, newest };
  }
}

function shown(state: State): string {
  return state === undefined ? 'no file' : `content ${state.slice(0, 12)}`;
}

/**
 * Which replica had the first attempt at a call that creates a session, for those calls that this replica was asked
 * about. The memory is limited: whoever has made the most calls makes room, by its own oldest ones.
 */
import { createHash } from 'node:crypto';
import { isSameRun, type ReplicaRun } from './sessionIds.js';

/** How long an attempt is noted, milliseconds: for a call to end, and as long as its end is remembered after that. */
export const NOTED_MS = 1_200_000;
/** How many there can be: a few megabytes. */
export const MOST_NOTED = 16_384;

interface Entry {
  readonly owner: string;
  readonly first: ReplicaRun;
  /** On the clock of `performance`. */
  readonly until: number;
}

/** Identities can be long. */
function ownerOf(identity: string | undefined): string {
  return createHash('sha256')
    .update(identity ?? '')
    .digest('base64url');
}

export class AttemptTable {
  /** By owner and request ID, the oldest first. */
  readonly #entries = new Map<string, Entry>();
  /** The keys of each owner's entries, the oldest first. */
  readonly #owners = new Map<string, Set<string>>();

  constructor(private readonly most: number = MOST_NOTED) {}

  get size(): number {
    return this.#entries.size;
  }

  /**
   * The run that had the first attempt, which is `by` unless another one is noted.
   * @param mayReplace whether the run that is noted does not count
   */
  note(
    identity: string | undefined,
    id: string,
    by: ReplicaRun,
    mayReplace: (noted: ReplicaRun) => boolean,
  ): ReplicaRun {
    this.#forgetOld();
    const owner = ownerOf(identity);
    const key = `${id} ${owner}`;
    const noted = this.#entries.get(key);
    if (noted !== undefined && (isSameRun(noted.first, by) || !mayReplace(noted.first))) return noted.first;
    this.#forget(key);
    this.#entries.set(key, { owner, first: by, until: performance.now() + NOTED_MS });
    const own = this.#owners.get(owner);
    if (own === undefined) this.#owners.set(owner, new Set([key]));
    else own.add(key);
    while (this.#entries.size > this.most) this.#forget(this.#oldestOfMost(owner));
    return by;
  }

  #oldestOfMost(owner: string): string {
    let most = this.#owners.get(owner) ?? new Set();
    for (const keys of this.#owners.values()) if (keys.size > most.size) most = keys;
    const [oldest = ''] = most;
    return oldest;
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const [key, { until }] of this.#entries) {
      if (until > now) return;
      this.#forget(key);
    }
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    const own = this.#owners.get(entry.owner);
    own?.delete(key);
    if (own?.size === 0) this.#owners.delete(entry.owner);
  }
}

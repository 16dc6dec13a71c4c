/**
 * The calls with request IDs: those that run, and for some time those that have ended. Each session has its own IDs, and
 * each identity has those of the calls that create and delete sessions; nobody can find out about the IDs of another.
 *
 * What is remembered takes limited memory. Whoever uses the most of it makes room, by its own oldest entries.
 */
import { GuestfsError } from '../../common/errors.js';
import { NamedCall, type KnownCall } from './namedCall.js';
import { kept, type Outcome } from './outcome.js';

/** How long a call is remembered after its end, milliseconds. */
export const KEPT_MS = 600_000;
/** Memory for the ended calls of one session or identity, bytes ... */
export const SCOPE_BYTES = 1024 * 1024;
/** ... and of all. */
export const TOTAL_BYTES = 16 * 1024 * 1024;
/** Interval between checks for entries that are too old, milliseconds. */
const SWEEP_INTERVAL_MS = 60_000;

/** Whose IDs they are: a session, or the name of an identity. */
export type IdOwner = object | string;

/** A call that has ended. */
export interface EndedCall extends KnownCall {
  readonly outcome: Outcome;
}

interface Entry extends EndedCall {
  readonly id: string;
  readonly scope: Scope;
  readonly bytes: number;
  /** On the clock of `performance`. */
  readonly until: number;
}

/** The IDs of one owner. */
class Scope {
  readonly running = new Map<string, NamedCall>();
  /** The oldest first. */
  readonly ended = new Map<string, Entry>();
  bytes = 0;

  constructor(readonly owner: IdOwner) {}

  get isEmpty(): boolean {
    return this.running.size === 0 && this.ended.size === 0;
  }
}

/** The error for an ID that was used for another call. */
function reused(id: string, { rpc }: KnownCall, now: string): GuestfsError {
  const what =
    rpc === now ? `another call of ${rpc}, with other arguments` : `a call of ${rpc}, and this is one of ${now}`;
  return new GuestfsError(
    'REQUEST_ID_REUSED',
    `the request ID ${id} was used for ${what}: each call needs an ID of its own, which only its repetitions share`,
    { fields: [{ field: 'guestfs-request-id', description: 'was used for another call' }] },
  );
}

export class Ledger {
  readonly #scopes = new Map<IdOwner, Scope>();
  /** The calls that have ended, the oldest first. */
  readonly #ended = new Set<Entry>();
  #bytes = 0;
  readonly #sweep: NodeJS.Timeout;

  constructor() {
    this.#sweep = setInterval(() => this.#forgetOld(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  /** Memory that the ended calls take, bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of owners of calls that are known. */
  get owners(): number {
    return this.#scopes.size;
  }

  /** The call with an ID, which runs or has ended; undefined if none is known. */
  find(owner: IdOwner, id: string): NamedCall | EndedCall | undefined {
    const scope = this.#scopes.get(owner);
    if (scope === undefined) return undefined;
    const running = scope.running.get(id);
    if (running !== undefined) return running;
    const ended = scope.ended.get(id);
    if (ended === undefined || ended.until > performance.now()) return ended;
    this.#forget(ended);
    return undefined;
  }

  /**
   * Refuses an ID that belongs to another call.
   * @throws GuestfsError REQUEST_ID_REUSED
   */
  static requireSame(id: string, known: KnownCall, { rpc, fingerprint }: KnownCall): void {
    if (known.rpc !== rpc || known.fingerprint !== fingerprint) throw reused(id, known, rpc);
  }

  /**
   * Refuses the ID of a call that is remembered for one that is not.
   * @throws GuestfsError REQUEST_ID_REUSED
   */
  requireUnused(owner: IdOwner, id: string, rpc: string): void {
    const known = this.find(owner, id);
    if (known !== undefined) throw reused(id, known, rpc);
  }

  /** Enters a call that begins now. It must be ended by {@link end}. @param tied as of a {@link NamedCall} */
  begin(owner: IdOwner, id: string, known: KnownCall, tied: boolean): NamedCall {
    const call = new NamedCall(id, known, tied);
    let scope = this.#scopes.get(owner);
    if (scope === undefined) {
      scope = new Scope(owner);
      this.#scopes.set(owner, scope);
    }
    scope.running.set(id, call);
    return call;
  }

  /** A call has ended: remembers how, unless a repeated call is to run again. */
  end(owner: IdOwner, call: NamedCall, outcome: Outcome): void {
    const scope = this.#scopes.get(owner);
    // A session that has ended is forgotten before its last calls have ended.
    if (scope?.running.get(call.requestId) === call) {
      scope.running.delete(call.requestId);
      if (outcome.kind === 'success' || !outcome.runsAgain) this.#remember(scope, call, outcome);
      if (scope.isEmpty) this.#scopes.delete(owner);
    }
    call.settle(outcome);
  }

  /** Forgets the calls of the owners that are no longer there. */
  keepOnly(isThere: (owner: IdOwner) => boolean): void {
    for (const scope of [...this.#scopes.values()]) {
      if (isThere(scope.owner)) continue;
      for (const entry of scope.ended.values()) this.#drop(entry);
      this.#scopes.delete(scope.owner);
    }
  }

  close(): void {
    clearInterval(this.#sweep);
  }

  #remember(scope: Scope, { requestId: id, rpc, fingerprint }: NamedCall, ended: Outcome): void {
    this.#forgetOld();
    const { outcome, bytes } = kept(ended);
    const entry = { id, scope, rpc, fingerprint, outcome, bytes, until: performance.now() + KEPT_MS };
    scope.ended.set(id, entry);
    scope.bytes += bytes;
    this.#ended.add(entry);
    this.#bytes += bytes;
    while (scope.bytes > SCOPE_BYTES) this.#forget(oldest(scope.ended.values()));
    while (this.#bytes > TOTAL_BYTES) this.#forget(oldest(this.#largest(scope).ended.values()));
  }

  /** The owner of the most memory; at least as much as `scope`. */
  #largest(scope: Scope): Scope {
    let largest = scope;
    for (const one of this.#scopes.values()) if (one.bytes > largest.bytes) largest = one;
    return largest;
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const entry of this.#ended) {
      if (entry.until > now) return;
      this.#forget(entry);
    }
  }

  #forget(entry: Entry): void {
    const { scope } = entry;
    this.#drop(entry);
    scope.ended.delete(entry.id);
    if (scope.isEmpty) this.#scopes.delete(scope.owner);
  }

  #drop(entry: Entry): void {
    this.#ended.delete(entry);
    this.#bytes -= entry.bytes;
    entry.scope.bytes -= entry.bytes;
  }
}

function oldest(entries: Iterable<Entry>): Entry {
  const [first] = entries;
  if (first === undefined) throw new Error('nothing is remembered');
  return first;
}

/**
 * The sessions of this server. Each identity has its own namespace for IDs, so no result reveals whether another
 * identity uses an ID.
 */
import { randomBytes } from 'node:crypto';
import { GuestfsError } from '../common/errors.js';
import { NO_OWN_LIMITS, type OwnLimits } from '../security/access.js';
import type { Logger } from '../common/logger.js';
import { onAbort, sleep } from '../common/waiting.js';
import { NO_BUDGET, requireResources, requireSession, type ClientBudget } from './clientBudget.js';
import type { Session } from './session.js';
import type { SessionState } from './stateMachine.js';

const ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;
const ID_BYTES = 16;
/** Interval between checks for idle sessions, milliseconds. */
const SWEEP_INTERVAL_MS = 1000;
const RETRY_AFTER_MS = 5000;
/** How soon a drain sees that the calls of a session have ended, milliseconds. */
const LOOK_AGAIN_MS = 50;

/** An ID with 128 random bits. */
export function newSessionId(): string {
  return randomBytes(ID_BYTES).toString('hex');
}

/** @throws GuestfsError MALFORMED_SESSION_ID */
export function checkSessionId(id: string): void {
  if (ID_PATTERN.test(id)) return;
  throw new GuestfsError('MALFORMED_SESSION_ID', 'a session ID has 1 to 64 of the characters A-Z a-z 0-9 . _ -', {
    fields: [{ field: 'session_id', description: 'must match [A-Za-z0-9._-]{1,64}' }],
  });
}

/** An identity and an ID of its sessions; no identity contains a line break. */
function keyOf(owner: string | undefined, id: string): string {
  return `${id}\n${owner ?? ''}`;
}

function tooMany(message: string, limit: number): GuestfsError {
  return new GuestfsError('TOO_MANY_SESSIONS', message, {
    metadata: { limit: String(limit) },
    retryAfterMs: RETRY_AFTER_MS,
  });
}

function shuttingDown(message: string): GuestfsError {
  return new GuestfsError('SHUTTING_DOWN', message, { retryAfterMs: RETRY_AFTER_MS });
}

/** Who creates a session. */
export interface SessionOwner {
  /** Undefined on a server without identities. */
  readonly identity: string | undefined;
  /** The client whose budget the session counts against: the identity, or an address; none by default. */
  readonly client?: string | undefined;
  /** Limits of this identity, which take precedence over those of the budget. */
  readonly limits?: OwnLimits;
}

/** The fields for a session in log lines; two identities can use the same ID. */
function namesOf({ id, owner }: Session): { readonly session: string; readonly identity?: string } {
  return { session: id, ...(owner === undefined ? {} : { identity: owner }) };
}

/** Options of {@link SessionRegistry}. */
export interface RegistryOptions {
  /** Nothing keeps the machines of two identities apart: only the first one that creates a session is ever served. */
  readonly oneIdentity?: boolean;
}

export class SessionRegistry {
  /** By {@link keyOf}. */
  readonly #sessions = new Map<string, Session>();
  readonly #limit: number;
  readonly #logger: Logger;
  readonly #budget: ClientBudget;
  readonly #sweep: NodeJS.Timeout;
  readonly #oneIdentity: boolean;
  /** The first identity that created a session. */
  #first: { readonly identity: string | undefined } | undefined;
  #draining = false;
  /** By an operator, who can open it again. */
  #closedToNew = false;
  readonly #sizeListeners = new Set<() => void>();

  /**
   * @param limit maximum number of sessions at a time
   * @param budget limits for those of one client
   */
  constructor(limit: number, logger: Logger, budget: ClientBudget = NO_BUDGET, options: RegistryOptions = {}) {
    this.#budget = budget;
    this.#oneIdentity = options.oneIdentity ?? false;
    this.#limit = limit;
    this.#logger = logger;
    this.#sweep = setInterval(() => this.#endIdle(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Number of calls to daemons that run or wait, in all sessions. */
  get pendingCalls(): number {
    let sum = 0;
    for (const { pendingCalls } of this.#sessions.values()) sum += pendingCalls;
    return sum;
  }

  /** Maximum number of sessions at a time. */
  get limit(): number {
    return this.#limit;
  }

  /** How many more sessions there can be. */
  get freePlaces(): number {
    return this.isDraining ? 0 : Math.max(0, this.#limit - this.#sessions.size);
  }

  /** It takes no new sessions: an operator has closed it to them, or the server shuts down. */
  get isDraining(): boolean {
    return this.#draining || this.#closedToNew;
  }

  /** Takes no new sessions, or takes them again. The sessions that there are, are not affected. */
  closeToNew(closed: boolean): void {
    if (closed === this.#closedToNew) return;
    this.#closedToNew = closed;
    this.#logger.info(closed ? 'closed to new sessions' : 'open to new sessions again', { sessions: this.size });
    this.#resized();
  }

  /** Calls `listener` whenever the number of free places may have changed. */
  onSize(listener: () => void): void {
    this.#sizeListeners.add(listener);
  }

  #resized(): void {
    for (const listener of this.#sizeListeners) listener();
  }

  /** The state of the session of each running machine, by the PID of its qemu. */
  machineStates(): ReadonlyMap<number, SessionState> {
    const states = new Map<number, SessionState>();
    for (const { machine, state } of this.#sessions.values()) if (machine !== undefined) states.set(machine.pid, state);
    return states;
  }

  /** Number of sessions of each owner's kind of identity, as `kind` tells it. */
  countOwners(kind: (owner: string | undefined) => string): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { owner } of this.#sessions.values()) counts.set(kind(owner), (counts.get(kind(owner)) ?? 0) + 1);
    return counts;
  }

  /** Number of sessions in a state. */
  count(state: SessionState): number {
    return [...this.#sessions.values()].filter((session) => session.state === state).length;
  }

  /**
   * Registers the session made by `create`, if the limit allows.
   * @throws GuestfsError MALFORMED_SESSION_ID, SHUTTING_DOWN, NOT_ISOLATED, SESSION_EXISTS, TOO_MANY_SESSIONS
   */
  add(id: string, { identity, client, limits = NO_OWN_LIMITS }: SessionOwner, create: () => Session): Session {
    checkSessionId(id);
    this.refuseWhileDraining();
    if (this.#closedToNew) throw shuttingDown('the server is being drained and takes no new sessions');
    if (this.#oneIdentity) this.#requireFirst(identity);
    const key = keyOf(identity, id);
    if (this.#sessions.has(key))
      throw new GuestfsError('SESSION_EXISTS', `a session ${id} already exists: choose another ID`);
    const { sessions: own } = limits;
    if (own !== undefined && this.list(identity).length >= own)
      throw tooMany(`this client has ${own} sessions, which is its limit; delete one`, own);
    if (this.#sessions.size >= this.#limit) {
      throw tooMany(
        `this server has ${this.#limit} sessions, which is its limit; delete one, or try again later`,
        this.#limit,
      );
    }
    if (client !== undefined && own === undefined) requireSession(this.#budget, this.#of(client).length);
    const session = create();
    if (this.#oneIdentity && this.#first === undefined) {
      this.#first = { identity };
      this.#logger.warn('this server serves no other identity from now on: it cannot keep several apart', { identity });
    }
    this.#sessions.set(key, session);
    this.#resized();
    if (client !== undefined) {
      session.limitBy((needed) => {
        const others = this.#of(client).filter((other) => other !== session);
        requireResources(
          this.#budget,
          others.flatMap(({ resources }) => resources ?? []),
          needed,
          limits,
        );
      });
    }
    return session;
  }

  /**
   * Applies even if the first identity has no sessions any more: whoever took over its machine may have changed the
   * server as well, and can read the images of others whether they are in use or not.
   */
  #requireFirst(identity: string | undefined): void {
    if (this.#first === undefined || this.#first.identity === identity) return;
    throw new GuestfsError(
      'NOT_ISOLATED',
      'this server cannot keep the machines of several identities apart on its host, and already serves another one',
    );
  }

  #of(client: string): Session[] {
    return [...this.#sessions.values()].filter((session) => session.client === client);
  }

  /**
   * @param identity of the client; other clients' sessions are reported as unknown
   * @throws GuestfsError SESSION_UNKNOWN
   */
  get(id: string, identity: string | undefined): Session {
    const session = this.#sessions.get(keyOf(identity, id));
    if (session === undefined) {
      throw new GuestfsError(
        'SESSION_UNKNOWN',
        `there is no session ${id} on this server: it was deleted, ended after its idle timeout, or never existed`,
      );
    }
    return session;
  }

  /** Whether a session is one of these. */
  has(session: Session): boolean {
    return this.#sessions.get(keyOf(session.owner, session.id)) === session;
  }

  /** The sessions of an identity, the oldest first. */
  list(identity: string | undefined): Session[] {
    return [...this.#sessions.values()].filter((session) => session.owner === identity);
  }

  /** Ends a session; settles when its resources are released. Its ID can be reused only then. */
  async delete(session: Session): Promise<void> {
    try {
      await session.close();
    } finally {
      const key = keyOf(session.owner, session.id);
      if (this.#sessions.get(key) === session) {
        this.#sessions.delete(key);
        this.#resized();
      }
    }
  }

  /** Ends a session that has no data to lose, without a sync; resolves when its resources are freed. */
  async discard(session: Session): Promise<void> {
    try {
      await session.kill();
    } finally {
      await this.delete(session);
    }
  }

  /** Ends a session without a sync, even during an orderly end, which then reports what was lost. */
  async deleteByForce(session: Session): Promise<void> {
    await this.discard(session).catch((err: unknown) =>
      this.#logger.info('session ended by force with an error', { ...namesOf(session), err }),
    );
  }

  /** @throws GuestfsError SHUTTING_DOWN */
  refuseWhileDraining(): void {
    if (this.#draining) throw shuttingDown('the server is shutting down and takes no new work');
  }

  /**
   * Drains: refuses new sessions and calls, and ends all sessions in an orderly way.
   * @param grace when it aborts, the sessions that have not ended yet are killed
   * @param callsMs how long calls that run or wait may go on before their session is ended
   * @throws AggregateError when all have ended, if any of them did with an error
   */
  async drain(grace?: AbortSignal, callsMs = 0): Promise<void> {
    this.#draining = true;
    clearInterval(this.#sweep);
    const sessions = [...this.#sessions.values()];
    const patience = performance.now() + callsMs;
    const ending = sessions.map(async (session) => {
      while (session.pendingCalls > 0 && performance.now() < patience && grace?.aborted !== true)
        await sleep(LOOK_AGAIN_MS);
      await this.#end(session, 'the server shuts down');
    });
    const stopListening = grace && onAbort(grace, () => this.#killAll());
    const ends = await Promise.allSettled(ending);
    stopListening?.();
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
    if (errors.length > 0)
      throw new AggregateError(errors, `${errors.length} of ${sessions.length} sessions ended with an error`);
  }

  /** Kills the sessions that are left; their orderly ends, which are still in progress, report the outcomes. */
  #killAll(): void {
    const left = [...this.#sessions.values()];
    if (left.length > 0)
      this.#logger.warn('the time for an orderly shutdown is over: sessions are killed', {
        sessions: left.map(namesOf),
      });
    for (const session of left)
      session
        .kill()
        .catch((err: unknown) => this.#logger.error('a session cannot be killed', { ...namesOf(session), err }));
  }

  /** Ends a session, and logs how; throws what went wrong. */
  async #end(session: Session, why: string): Promise<void> {
    try {
      await this.delete(session);
      this.#logger.info('session ended', { ...namesOf(session), why });
    } catch (error) {
      this.#logger.error('session ended with an error: data may be lost', { ...namesOf(session), why, err: error });
      throw error;
    }
  }

  #endIdle(): void {
    const now = Date.now();
    for (const session of this.#sessions.values()) {
      const expires = session.expireTime;
      if (expires === undefined || expires.getTime() > now) continue;
      const old = session.latestTime !== undefined && session.latestTime.getTime() <= now;
      // A client can make a transfer last as long as it likes.
      if (old) session.cancelTransfer();
      this.#end(session, old ? 'it reached its maximum age' : 'it was idle').catch(() => undefined); // the error is logged
    }
  }
}

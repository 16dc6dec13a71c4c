/**
 * Finds the replica that had the first attempt at a call that creates a session, so that a call which a client or proxy
 * repeats at another replica makes no second session. No session names that replica yet, so there is nothing in the
 * call that could.
 *
 * Two replicas note where the first attempt at a call was. Which two follows from the request ID and the client's
 * identity by rendezvous hashing, so that each replica asks the same ones, and one replica that is added or lost leaves
 * at least one of them the same. They are asked one after the other: the first decides between attempts that are made at
 * the same time, the second knows what the first has not seen.
 *
 * A replica that does not answer in time is passed over: what is then not known is whether there was an attempt, and a
 * session too many does less harm than none.
 */
import { createHash } from 'node:crypto';
import { FairSemaphore } from '../../common/fairSemaphore.js';
import { inTime, throwIfAborted, withTimeLimit } from '../../common/waiting.js';
import { AttemptTable } from './attemptTable.js';
import type { AttemptQuestion } from './forwarded.js';
import { askWho, type AttemptAnswer } from './introduction.js';
import type { Peer, Peers } from './peers.js';
import { isSameRun, type ReplicaRun } from './sessionIds.js';
import type { SessionKeys } from './sessionKeys.js';

/** How many replicas note an attempt. */
const NOTED_BY = 2;
/** How many are asked at most, if some do not answer. */
const MOST_ASKED = 4;
/** How often another replica can turn out to have had the attempt, but not to know the call any more. */
const MOST_ROUNDS = 3;
/** How long each question may take, milliseconds ... */
const ANSWER_LIMIT_MS = 2000;
/** ... and all of them for one call. */
const LIMIT_MS = 5000;

/** A call by its request ID. */
export interface NamedAttempt {
  readonly identity: string | undefined;
  readonly id: string;
}

export interface FirstAttemptsOptions {
  readonly keys: SessionKeys;
  readonly self: ReplicaRun;
  readonly peers: Peers;
}

/** In the order in which a call's attempts are noted there. */
export function inOrder<Run extends ReplicaRun>(runs: readonly Run[], { identity, id }: NamedAttempt): Run[] {
  const weigh = ({ replica, run }: ReplicaRun): string =>
    createHash('sha256')
      .update([id, run, replica, identity ?? ''].join('\n'))
      .digest('base64url');
  return runs
    .map((run) => ({ run, weight: weigh(run) }))
    .sort((one, other) => (one.weight < other.weight ? -1 : 1))
    .map(({ run }) => run);
}

export class FirstAttempts {
  readonly #options: FirstAttemptsOptions;
  readonly #table = new AttemptTable();
  /** Calls that have arrived, and may not be in the server's own memory yet. */
  readonly #arrived = new Map<string, number>();
  #remembers: (call: NamedAttempt) => boolean = () => false;
  /** All questions share the connections on which replicas ask each other who they are. */
  readonly #questions = new FairSemaphore({
    ...{ parallel: 32, perClient: 16, waiting: 1000 },
    ...{ limit: 'repeated-calls', tasks: 'calls that other replicas are asked about' },
  });

  constructor(options: FirstAttemptsOptions) {
    this.#options = options;
  }

  /** @param remembers whether a call runs here, or is remembered */
  rememberedBy(remembers: (call: NamedAttempt) => boolean): void {
    this.#remembers = remembers;
  }

  /** Declares that a call is here from now on. @returns a function that must be called when it has ended */
  arrived({ identity, id }: NamedAttempt): () => void {
    const key = keyOf({ identity, id });
    this.#arrived.set(key, (this.#arrived.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#arrived.get(key) ?? 1) - 1;
      if (left === 0) this.#arrived.delete(key);
      else this.#arrived.set(key, left);
    };
  }

  /** The answer to another replica. */
  answer({ identity, id, by, insteadOf }: AttemptQuestion): AttemptAnswer {
    if (by === undefined) return { known: this.#knows({ identity, id }) };
    return { first: this.#note({ identity, id }, by, insteadOf) };
  }

  /**
   * The replica that knows a call of this request ID; undefined: this one is to make it.
   * @param signal of the call
   * @throws the reason of `signal`
   */
  async elsewhere(call: NamedAttempt, signal: AbortSignal): Promise<Peer | undefined> {
    const late = new Error('the other replicas take too long');
    try {
      return await withTimeLimit(
        LIMIT_MS,
        () => late,
        [signal],
        (limit) => this.#search(call, limit),
      );
    } catch (error) {
      throwIfAborted(signal);
      if (error === late) return undefined;
      throw error;
    }
  }

  async #search(call: NamedAttempt, limit: AbortSignal): Promise<Peer | undefined> {
    let insteadOf: ReplicaRun | undefined;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const first = await this.#firstOf(call, insteadOf, limit);
      if (first === undefined) return undefined;
      const peer = await this.#knowing(first, call, limit);
      if (peer !== undefined) return peer;
      insteadOf = first;
    }
    return undefined;
  }

  /** Another run that had the first attempt; undefined if this one has. */
  async #firstOf(
    call: NamedAttempt,
    insteadOf: ReplicaRun | undefined,
    limit: AbortSignal,
  ): Promise<ReplicaRun | undefined> {
    const { self, peers } = this.#options;
    const known = (await inTime(ANSWER_LIMIT_MS, undefined, peers.members())) ?? [];
    const question = { ...call, by: self, ...(insteadOf === undefined ? {} : { insteadOf }) };
    let answers = 0;
    for (const one of inOrder<Peer | ReplicaRun>([self, ...known], call).slice(0, MOST_ASKED)) {
      const first = 'link' in one ? (await this.#ask(one, question, limit))?.first : this.answer(question).first;
      if (first === undefined) continue;
      if (!isSameRun(first, self)) return first;
      answers += 1;
      if (answers === NOTED_BY) break;
    }
    return undefined;
  }

  /** The replica that runs as `run`, if it is there and knows the call. */
  async #knowing(run: ReplicaRun, call: NamedAttempt, limit: AbortSignal): Promise<Peer | undefined> {
    const found = this.#options.peers.find(run).catch(() => undefined);
    const peer = await inTime(ANSWER_LIMIT_MS, undefined, found);
    if (peer === undefined) return undefined;
    const answer = await this.#ask(peer, call, limit);
    return answer?.known === true ? peer : undefined;
  }

  /** What another replica knows; undefined if it does not answer. */
  async #ask(
    peer: Peer,
    { identity, ...rest }: AttemptQuestion,
    limit: AbortSignal,
  ): Promise<AttemptAnswer | undefined> {
    const { keys, self } = this.#options;
    const question = { ...rest, ...(identity === undefined ? {} : { identity }) };
    try {
      const said = await this.#questions.run(
        () => askWho(keys, peer.link, self.replica, ANSWER_LIMIT_MS, question),
        limit,
      );
      return isSameRun(said, peer) ? said.attempt : undefined;
    } catch {
      // Its failure is reported where the replicas are asked who they are.
      throwIfAborted(limit);
      return undefined;
    }
  }

  #note(call: NamedAttempt, by: ReplicaRun, insteadOf: ReplicaRun | undefined): ReplicaRun {
    const { self } = this.#options;
    return this.#table.note(call.identity, call.id, by, (noted) => {
      if (isSameRun(noted, self)) return !this.#knows(call);
      return insteadOf !== undefined && isSameRun(noted, insteadOf);
    });
  }

  #knows(call: NamedAttempt): boolean {
    return this.#arrived.has(keyOf(call)) || this.#remembers(call);
  }
}

/** No identity contains a line break. */
function keyOf({ identity, id }: NamedAttempt): string {
  return `${id}\n${identity ?? ''}`;
}

/**
 * The other replicas: who is at which address. All of them are asked every few seconds. When a session's owner is not
 * among those known, it is looked for at the addresses where no known replica is connected: that another one has ended
 * costs those that live nothing.
 */
import { status, type ChannelCredentials } from '@grpc/grpc-js';
import { GuestfsError, messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { sleep } from '../../common/waiting.js';
import { askWho, type Introduction } from './introduction.js';
import { addressesOf, type PeerSource } from './peerAddresses.js';
import { PeerLink } from './peerLink.js';
import { isSameRun, type ReplicaRun } from './sessionIds.js';
import type { SessionKeys } from './sessionKeys.js';

const INTERVAL_MS = 10_000;
/** How long a replica may take to say who it is. */
const ANSWER_LIMIT_MS = 2000;
/** Whatever clients ask for, the replicas are not asked more often. */
const LEAST_INTERVAL_MS = 500;
/** How long a replica that DNS or the file no longer has, and that does not answer, may still be alive. */
const DOUBT_MS = 60_000;
const RETRY_AFTER_MS = 2000;
/** How long a run that has ended is not looked for again. */
const LOST_MS = 10_000;
/** How many of them are remembered; all have signed sessions, so that clients cannot make them up. */
const MOST_LOST = 1000;

/** A replica that has said who it is. */
export interface Peer extends Introduction {
  readonly link: PeerLink;
}

/** An address where no replica is known to be. */
export interface Silent {
  readonly address: string;
  readonly why: string;
  /** Nothing listens there: whatever did has ended. */
  readonly refused: boolean;
}

/** All that was found when the replicas were last asked. */
interface Findings {
  readonly peers: readonly Peer[];
  readonly silent: readonly Silent[];
  /** Why the addresses are not known. */
  readonly failure: string | undefined;
}

export interface PeersOptions {
  readonly source: PeerSource;
  readonly keys: SessionKeys;
  readonly self: ReplicaRun;
  readonly credentials: () => ChannelCredentials;
  readonly logger: Logger;
  /** For tests. */
  readonly intervalMs?: number;
}

/** Nothing has an address, or the address of a Unix socket no file. */
const REFUSED = /\b(ECONNREFUSED|ENOENT)\b/;

export class Peers {
  readonly #options: PeersOptions;
  readonly #links = new Map<string, PeerLink>();
  /** When each address last answered, unless it is known that the replica there has ended. */
  readonly #answeredAt = new Map<string, number>();
  /** Addresses of this replica itself. */
  readonly #own = new Set<string>();
  /** Runs that have ended, and until when that is said without looking for them. */
  readonly #lost = new Map<string, { readonly cause: keyof typeof ENDS; readonly until: number }>();
  readonly #timer: NodeJS.Timeout;
  #findings: Findings = { peers: [], silent: [], failure: undefined };
  #asking: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  #isClosed = false;
  #askedAt = -Infinity;
  #reported = '';

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#ask(true), options.intervalMs ?? INTERVAL_MS);
    this.#timer.unref();
  }

  /**
   * The replica that runs as `run`.
   * @throws GuestfsError SESSION_LOST if it has ended, OWNER_UNREACHABLE if that is not known
   */
  async find(run: ReplicaRun): Promise<Peer> {
    const known = this.#known(run);
    if (known?.link.isConnected === true) return known;
    if (known === undefined) this.#throwIfLost(run);
    await this.refresh();
    return this.#known(run) ?? this.#explain(run);
  }

  /** All replicas but this one, those included that have just started. */
  async all(): Promise<Findings> {
    await this.refresh();
    return this.#findings;
  }

  /** The replicas that have answered when they were last asked; waits only if they have never been asked. */
  async members(): Promise<readonly Peer[]> {
    if (this.#askedAt === -Infinity) await this.#ask(true);
    return this.#findings.peers;
  }

  /** How many connections replicas have to this one for their questions; it asks itself as well where it is listed. */
  get connections(): number {
    return this.#findings.peers.length + this.#own.size;
  }

  /** Asks who is where no known replica is connected: now or, if somebody was asked a moment ago, soon. */
  refresh(): Promise<void> {
    this.#waiting ??= this.#askSoon().finally(() => {
      this.#waiting = undefined;
    });
    return this.#waiting;
  }

  async #askSoon(): Promise<void> {
    await this.#asking;
    await sleep(Math.max(0, this.#askedAt + LEAST_INTERVAL_MS - performance.now()));
    if (!this.#isClosed) await this.#ask(false);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #known(run: ReplicaRun): Peer | undefined {
    return this.#findings.peers.find((peer) => isSameRun(peer, run));
  }

  #ask(everybody: boolean): Promise<void> {
    this.#asking ??= this.#askAll(everybody).finally(() => {
      this.#asking = undefined;
      this.#askedAt = performance.now();
    });
    return this.#asking;
  }

  async #askAll(everybody: boolean): Promise<void> {
    const { source, logger } = this.#options;
    let failure: string | undefined;
    const listed = await addressesOf(source).catch((error: unknown) => {
      failure = messageOf(error);
      return [];
    });
    // DNS leaves out replicas that are not ready, which can still have sessions.
    const addresses = new Set([...listed, ...this.#answeredAt.keys()]);
    const known = new Map(this.#findings.peers.map((peer) => [peer.link.address, peer]));
    const whoIs = async (address: string): Promise<Peer | Silent | undefined> => {
      if (everybody || this.#links.get(address)?.isConnected !== true) return this.#askOne(address);
      return known.get(address) ?? (this.#own.has(address) ? undefined : this.#askOne(address));
    };
    const found = (await Promise.all([...addresses].map(whoIs))).filter((one) => one !== undefined);
    const peers = found.filter((one) => 'run' in one);
    const silent = found.filter((one) => 'why' in one);
    for (const { link } of peers) this.#answeredAt.set(link.address, performance.now());
    for (const { address, refused } of silent) {
      const answered = this.#answeredAt.get(address) ?? -Infinity;
      if (refused || performance.now() - answered > DOUBT_MS) this.#answeredAt.delete(address);
    }
    for (const [address, link] of this.#links) {
      if (addresses.has(address)) continue;
      link.close();
      this.#links.delete(address);
      this.#own.delete(address);
    }
    this.#findings = { peers, silent, failure };
    this.#report(logger);
  }

  /** Who is at an address; undefined if it is this replica. */
  async #askOne(address: string): Promise<Peer | Silent | undefined> {
    const { keys, self, credentials } = this.#options;
    if (this.#isClosed) return undefined;
    const link = this.#links.get(address) ?? new PeerLink(address, credentials);
    this.#links.set(address, link);
    try {
      const introduction = await askWho(keys, link, self.replica, ANSWER_LIMIT_MS);
      if (!isSameRun(introduction, self)) {
        this.#own.delete(address);
        return { ...introduction, link };
      }
      this.#own.add(address);
      return undefined;
    } catch (error) {
      const { code, details } = error as { readonly code?: status; readonly details?: string };
      const why = details ?? messageOf(error);
      return { address, why, refused: code === status.UNAVAILABLE && REFUSED.test(why) };
    }
  }

  /** Logs what is wrong, once. */
  #report(logger: Logger): void {
    const { peers, silent, failure } = this.#findings;
    const runs = new Map<string, Set<string>>();
    for (const { replica, run } of [...peers, this.#options.self])
      runs.set(replica, (runs.get(replica) ?? new Set()).add(run));
    const twice = [...runs].filter(([, all]) => all.size > 1).map(([replica]) => replica);
    const state = JSON.stringify([peers.map(({ run, link }) => [run, link.address]), silent, failure, twice]);
    if (state === this.#reported) return;
    this.#reported = state;
    logger.info('replicas', {
      replicas: peers.map(({ replica, link }) => ({ replica, address: link.address })),
      silent: silent.map(({ address, why }) => ({ address, why })),
      ...(failure === undefined ? {} : { failure }),
    });
    if (twice.length > 0)
      logger.error('several replicas have the same ID: give each its own with --replica-id', { replicas: twice });
  }

  /** @throws GuestfsError SESSION_LOST if that was found out a moment ago */
  #throwIfLost({ replica, run }: ReplicaRun): void {
    const lost = this.#lost.get(run);
    if (lost === undefined) return;
    if (lost.until > performance.now()) throw sessionLost(replica, lost.cause);
    this.#lost.delete(run);
  }

  #hasEnded(run: ReplicaRun, cause: keyof typeof ENDS): never {
    this.#lost.delete(run.run);
    this.#lost.set(run.run, { cause, until: performance.now() + LOST_MS });
    const [oldest] = this.#lost.keys();
    if (this.#lost.size > MOST_LOST && oldest !== undefined) this.#lost.delete(oldest);
    throw sessionLost(run.replica, cause);
  }

  /** Why there is no such replica. */
  #explain(sought: ReplicaRun): never {
    const { replica, run } = sought;
    const { peers, silent, failure } = this.#findings;
    const { self } = this.#options;
    if ([...peers, self].some((other) => other.replica === replica && other.run !== run))
      this.#hasEnded(sought, 'restarted');
    const unsure = silent.filter(({ refused }) => !refused);
    if (failure !== undefined) throw ownerUnreachable(replica, `the replicas cannot be found: ${failure}`);
    if (unsure.length > 0)
      throw ownerUnreachable(replica, `there is no answer from ${unsure.map(({ address }) => address).join(', ')}`);
    this.#hasEnded(sought, silent.length > 0 ? 'refused' : 'gone');
  }
}

/** How it is known that the owner of a session has ended. */
const ENDS = {
  restarted: 'it has been started anew',
  refused: 'nothing listens at its address any more',
  gone: 'all other replicas answer, and it is no longer among them',
} as const;

/** The error for a session whose owner has ended. */
export function sessionLost(replica: string, cause: keyof typeof ENDS): GuestfsError {
  return new GuestfsError(
    'SESSION_LOST',
    `the session is lost: replica ${replica}, which had it, has ended (${ENDS[cause]}); create another session`,
    { metadata: { replica, cause } },
  );
}

/** The error for a session whose owner does not answer. */
export function ownerUnreachable(replica: string, why: string): GuestfsError {
  return new GuestfsError(
    'OWNER_UNREACHABLE',
    `replica ${replica}, which has the session, cannot be reached: ${why}; the call was not carried out`,
    { metadata: { replica }, retryAfterMs: RETRY_AFTER_MS },
  );
}

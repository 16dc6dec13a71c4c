/**
 * The other replicas: who is at which address. They are asked every few seconds, and whenever a session's owner is not
 * among those known.
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
  readonly #timer: NodeJS.Timeout;
  #findings: Findings = { peers: [], silent: [], failure: undefined };
  #asking: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  #isClosed = false;
  #askedAt = -Infinity;
  #reported = '';

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#ask(), options.intervalMs ?? INTERVAL_MS);
    this.#timer.unref();
  }

  /**
   * The replica that runs as `run`.
   * @throws GuestfsError SESSION_LOST if it has ended, OWNER_UNREACHABLE if that is not known
   */
  async find(run: ReplicaRun): Promise<Peer> {
    const known = this.#known(run);
    if (known?.link.isConnected === true) return known;
    await this.refresh();
    return this.#known(run) ?? this.#explain(run);
  }

  /** All replicas but this one, asked anew. */
  async all(): Promise<Findings> {
    await this.refresh();
    return this.#findings;
  }

  /** Asks the replicas who they are: now or, if they were asked a moment ago, soon. */
  refresh(): Promise<void> {
    this.#waiting ??= this.#askSoon().finally(() => {
      this.#waiting = undefined;
    });
    return this.#waiting;
  }

  async #askSoon(): Promise<void> {
    await this.#asking;
    await sleep(Math.max(0, this.#askedAt + LEAST_INTERVAL_MS - performance.now()));
    if (!this.#isClosed) await this.#ask();
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

  #ask(): Promise<void> {
    this.#asking ??= this.#askAll().finally(() => {
      this.#asking = undefined;
      this.#askedAt = performance.now();
    });
    return this.#asking;
  }

  async #askAll(): Promise<void> {
    const { source, logger } = this.#options;
    let failure: string | undefined;
    const listed = await addressesOf(source).catch((error: unknown) => {
      failure = messageOf(error);
      return [];
    });
    // DNS leaves out replicas that are not ready, which can still have sessions.
    const addresses = new Set([...listed, ...this.#answeredAt.keys()]);
    const found = (await Promise.all([...addresses].map((address) => this.#askOne(address)))).filter(
      (one) => one !== undefined,
    );
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
      return isSameRun(introduction, self) ? undefined : { ...introduction, link };
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

  /** Why there is no such replica. */
  #explain({ replica, run }: ReplicaRun): never {
    const { peers, silent, failure } = this.#findings;
    const { self } = this.#options;
    if ([...peers, self].some((other) => other.replica === replica && other.run !== run))
      throw sessionLost(replica, 'restarted');
    const unsure = silent.filter(({ refused }) => !refused);
    if (failure !== undefined) throw ownerUnreachable(replica, `the replicas cannot be found: ${failure}`);
    if (unsure.length > 0)
      throw ownerUnreachable(replica, `there is no answer from ${unsure.map(({ address }) => address).join(', ')}`);
    throw sessionLost(replica, silent.length > 0 ? 'refused' : 'gone');
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

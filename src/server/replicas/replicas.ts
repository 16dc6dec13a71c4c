/** This server as one of several replicas: the IDs of its sessions, and calls for sessions of the others. */
import type { Metadata } from '@grpc/grpc-js';
import { GuestfsError, messageOf } from '../../common/errors.js';
import { FirstAttempts } from './firstAttempts.js';
import { forwardedBy, forwardedHeader, type Forwarded, type ForItself } from './forwarded.js';
import { forwardedMetadata } from './forward.js';
import { introduce, type Introduction } from './introduction.js';
import { sessionLost, ownerUnreachable, type Peer, type Peers } from './peers.js';
import type { PeerCall } from './peerLink.js';
import { idOf, isSameRun, namesOwner, placeOf, type ReplicaRun, type SessionPlace } from './sessionIds.js';
import type { SessionKeys } from './sessionKeys.js';

/** How long connecting to a replica may take. */
const CONNECT_LIMIT_MS = 3000;

export interface ReplicasOptions {
  readonly keys: SessionKeys;
  readonly self: ReplicaRun;
  /** The other replicas; undefined: not known. */
  readonly peers: Peers | undefined;
  /** Whether calls for sessions of other replicas are passed on. */
  readonly forward: boolean;
}

/** The client of a call, as another replica is told. */
export interface ForwardedClient {
  readonly identity: string | undefined;
  readonly client: string;
}

export class Replicas {
  readonly #options: ReplicasOptions;
  /** Of calls that create sessions; undefined: the others are not known. */
  readonly firstAttempts: FirstAttempts | undefined;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    const { peers } = options;
    this.firstAttempts = peers && new FirstAttempts({ ...options, peers });
  }

  get self(): ReplicaRun {
    return this.#options.self;
  }

  get peers(): Peers | undefined {
    return this.#options.peers;
  }

  /** Whether calls are passed on. */
  get forwards(): boolean {
    return this.#options.forward;
  }

  /**
   * What a replica says about a call; undefined if it says nothing.
   * @throws GuestfsError UNAUTHENTICATED
   */
  readonly forwardedBy = (metadata: Metadata): Forwarded | undefined => forwardedBy(this.#options.keys, metadata);

  /** The ID of a session of this replica. */
  idOf(name: string, identity: string | undefined): string {
    const { keys, self } = this.#options;
    return idOf(keys, { ...self, name }, identity);
  }

  /**
   * Where a session is; undefined for a mere name, which only this replica can know.
   * @throws GuestfsError SESSION_UNKNOWN
   */
  placeOf(id: string, identity: string | undefined): SessionPlace | undefined {
    return placeOf(this.#options.keys, id, identity);
  }

  isHere(place: ReplicaRun): boolean {
    return isSameRun(place, this.#options.self);
  }

  /** @throws GuestfsError MALFORMED_SESSION_ID for a name that looks like a complete ID */
  requireName(name: string): void {
    if (!namesOwner(name)) return;
    throw new GuestfsError('MALFORMED_SESSION_ID', 'this is the ID of a session, not a name for a new one', {
      fields: [{ field: 'session_id', description: 'must not have the form of an ID that names its replica' }],
    });
  }

  /** The error for a session that is not known here by its name: others can have one of this name. */
  unknownName(name: string, error: unknown): unknown {
    if (!(error instanceof GuestfsError) || error.reason !== 'SESSION_UNKNOWN') return error;
    return new GuestfsError(
      'SESSION_UNKNOWN',
      `replica ${this.self.replica} has no session ${name}, but another one can have it: a name is known only to its replica, the complete ID that CreateSession returned to all`,
      { metadata: { replica: this.self.replica } },
    );
  }

  /**
   * Refuses a call that another replica has passed on, but that is not for this one. It is never passed on again.
   * @throws GuestfsError OWNER_UNREACHABLE
   */
  requireAimedHere(forwarded: Forwarded | undefined): void {
    if (forwarded === undefined || !('to' in forwarded) || this.isHere(forwarded.to)) return;
    throw ownerUnreachable(forwarded.to.replica, `replica ${this.self.replica} is at its address`);
  }

  /**
   * The replica that has a session of another one, for passing on a call.
   * @throws GuestfsError SESSION_ELSEWHERE if calls are not passed on, or this one was; SESSION_LOST, OWNER_UNREACHABLE
   */
  async ownerOf(place: SessionPlace, forwarded: Forwarded | undefined): Promise<Peer> {
    const { peers, self } = this.#options;
    if (peers === undefined) {
      if (place.replica === self.replica) throw sessionLost(place.replica, 'restarted');
      throw elsewhere(place.replica);
    }
    if (forwarded !== undefined) throw elsewhere(place.replica);
    const owner = await peers.find(place);
    this.requireForwards(owner);
    return owner;
  }

  /** @throws GuestfsError SESSION_ELSEWHERE if calls are not passed on */
  requireForwards({ replica, endpoint }: Peer): void {
    if (!this.forwards) throw elsewhere(replica, endpoint);
  }

  /**
   * Calls another replica for a client.
   * @throws GuestfsError SESSION_LOST or OWNER_UNREACHABLE, before anything is sent; LIMIT_EXCEEDED
   */
  async call(
    owner: Peer,
    {
      path,
      metadata,
      deadline,
    }: { readonly path: string; readonly metadata: Metadata; readonly deadline: number | Date },
    client: ForwardedClient,
  ): Promise<PeerCall> {
    try {
      const headers = this.metadataFor(owner, metadata, client);
      return await owner.link.call(client.client, path, headers, {
        deadline,
        connectBy: Date.now() + CONNECT_LIMIT_MS,
      });
    } catch (error) {
      if (error instanceof GuestfsError) throw error;
      // Whether it has ended is found out by asking; it can also have come back.
      await this.peers?.find(owner);
      throw ownerUnreachable(owner.replica, messageOf(error));
    }
  }

  /** The metadata of a call to another replica for a client. */
  metadataFor(owner: Peer, metadata: Metadata, { identity, client }: ForwardedClient): Metadata {
    const { keys, self } = this.#options;
    const to = { replica: owner.replica, run: owner.run };
    const statement = { from: self.replica, to, client, ...(identity === undefined ? {} : { identity }) };
    return forwardedMetadata(metadata, forwardedHeader(keys, statement));
  }

  /** The metadata of the answer to a replica that has asked who this is, or about an attempt at a call. */
  introduce(endpoint: string, asked: ForItself): Metadata {
    const { keys, self } = this.#options;
    const attempt = asked.attempt && this.firstAttempts?.answer(asked.attempt);
    const own: Introduction = { ...self, endpoint, ...(attempt === undefined ? {} : { attempt }) };
    return introduce(keys, own, asked);
  }

  close(): void {
    this.peers?.close();
  }
}

/** The error for a session of another replica. */
function elsewhere(replica: string, endpoint?: string): GuestfsError {
  return new GuestfsError(
    'SESSION_ELSEWHERE',
    `replica ${replica} has the session${endpoint === undefined ? '' : `: call it at ${endpoint}`}`,
    { metadata: { replica, ...(endpoint === undefined ? {} : { endpoint }) } },
  );
}

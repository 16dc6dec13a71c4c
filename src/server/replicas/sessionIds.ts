/**
 * Session IDs that name their owner: `NAME.REPLICA.RUN.SIGNATURE`. NAME is the client's choice, or random; RUN is
 * different each time that the replica starts, since sessions do not outlive its process. The signature also covers the
 * identity that the session belongs to, so an ID is worthless to others. No time is part of an ID: it does not matter
 * whether the clocks of replicas agree.
 */
import { randomBytes } from 'node:crypto';
import { GuestfsError } from '../../common/errors.js';
import type { SessionKeys } from './sessionKeys.js';

/** Bits of a run: enough that no two runs are alike. */
const RUN_BYTES = 6;
/** Bytes of the signature in an ID; guessing 96 bits takes forever at any rate of calls. */
const SIGNATURE_BYTES = 12;

const REPLICA = '[A-Za-z0-9_-]{1,63}';
const FULL_ID = new RegExp(`^([A-Za-z0-9._-]{1,64})\\.(${REPLICA})\\.([A-Za-z0-9_-]{8})\\.([A-Za-z0-9_-]{16})$`);
const REPLICA_ID = new RegExp(`^${REPLICA}$`);

/** Whether a text can be the ID of a replica. */
export function isReplicaId(text: string): boolean {
  return REPLICA_ID.test(text);
}

/** One run of a replica. */
export interface ReplicaRun {
  readonly replica: string;
  /** Different each time that the replica starts. */
  readonly run: string;
}

/** This process, as a replica. */
export function newRun(replica: string): ReplicaRun {
  return { replica, run: randomBytes(RUN_BYTES).toString('base64url') };
}

export function isSameRun(one: ReplicaRun, other: ReplicaRun): boolean {
  return one.replica === other.replica && one.run === other.run;
}

/** Where a session is, and its name there. */
export interface SessionPlace extends ReplicaRun {
  readonly name: string;
}

function signed({ name, replica, run }: SessionPlace, identity: string | undefined): string {
  return [name, replica, run, identity ?? ''].join('\n');
}

/** The ID of a session of an identity. */
export function idOf(keys: SessionKeys, place: SessionPlace, identity: string | undefined): string {
  const signature = keys.sign('session', signed(place, identity)).subarray(0, SIGNATURE_BYTES).toString('base64url');
  return [place.name, place.replica, place.run, signature].join('.');
}

/** Whether a text has the form of an ID that names its owner. */
export function namesOwner(id: string): boolean {
  return FULL_ID.test(id);
}

/**
 * Where the session with an ID is; undefined if the ID is a mere name.
 * @throws GuestfsError SESSION_UNKNOWN if the ID was not made for a session of this identity with a key in use
 */
export function placeOf(keys: SessionKeys, id: string, identity: string | undefined): SessionPlace | undefined {
  const match = FULL_ID.exec(id);
  if (match === null) return undefined;
  const [, name = '', replica = '', run = '', signature = ''] = match;
  const place = { name, replica, run };
  if (keys.verify('session', signed(place, identity), Buffer.from(signature, 'base64url'))) return place;
  throw new GuestfsError(
    'SESSION_UNKNOWN',
    'there is no session of yours with this ID: its signature is not one of these servers, or it belongs to another client',
  );
}

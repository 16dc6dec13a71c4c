/** The sessions of a client on the other replicas. */
import type { StatusObject } from '@grpc/grpc-js';
import {
  SessionServiceService,
  type ListSessionsRequest,
  type MissingReplica,
  type Session,
} from '../../../gen/proto/guestfs/v1/session.js';
import { GuestfsError, messageOf } from '../../common/errors.js';
import type { AdmittedCall } from '../rpc.js';
import type { Peer, Peers } from './peers.js';
import type { Replicas } from './replicas.js';

/** How long each replica may take. */
const ANSWER_LIMIT_MS = 5000;
const PAGE_SIZE = 1000;
/** More pages than this are not sessions, but a replica that does not end. */
const MOST_PAGES = 100;

/** Sessions by the time of their creation; times of different replicas come from different clocks. */
export function oldestFirst(sessions: readonly Session[]): Session[] {
  const time = ({ create_time: created }: Session): number => created?.getTime() ?? 0;
  return [...sessions].sort((one, other) => time(one) - time(other) || (one.id < other.id ? -1 : 1));
}

/** Asks all of them, at the same time. */
export async function sessionsOfOthers(
  replicas: Replicas,
  peers: Peers,
  call: AdmittedCall<ListSessionsRequest>,
): Promise<{ readonly sessions: readonly Session[]; readonly missing: readonly MissingReplica[] }> {
  const { peers: known, silent, failure } = await peers.all();
  const sessions: Session[] = [];
  const missing: MissingReplica[] = silent.map(({ address, why }) => ({ replica: '', address, message: why }));
  if (failure !== undefined)
    missing.push({ replica: '', address: '', message: `the replicas cannot be found: ${failure}` });
  await Promise.all(
    known.map(async (peer) => {
      try {
        sessions.push(...(await sessionsOf(replicas, peer, call)));
      } catch (error) {
        missing.push({ replica: peer.replica, address: peer.link.address, message: textOf(error) });
      }
    }),
  );
  return { sessions, missing };
}

function textOf(error: unknown): string {
  if (error instanceof GuestfsError) return error.message;
  return (error as Partial<StatusObject>).details ?? messageOf(error);
}

async function sessionsOf(
  replicas: Replicas,
  peer: Peer,
  { metadata, identity, client }: AdmittedCall,
): Promise<Session[]> {
  const call = {
    metadata: replicas.metadataFor(peer, metadata, { identity, client }),
    deadline: Date.now() + ANSWER_LIMIT_MS,
  };
  const sessions: Session[] = [];
  let token = '';
  for (let page = 0; page < MOST_PAGES; page++) {
    const request = { page_size: PAGE_SIZE, page_token: token, all_replicas: false };
    const { answer } = await peer.link.ask(client, SessionServiceService.listSessions, request, call);
    sessions.push(...answer.sessions);
    token = answer.next_page_token;
    if (token === '') return sessions;
  }
  throw new Error('its list of sessions has no end');
}

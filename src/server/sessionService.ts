/** SessionService: creates, shows and deletes sessions. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  Accelerator,
  CallState,
  LaunchKind,
  SessionState as ProtoState,
  type CancelCallRequest,
  type CancelCallResponse,
  type CreateSessionRequest,
  type CreateSessionResponse,
  type DeleteSessionRequest,
  type DeleteSessionResponse,
  type DrainRequest,
  type DrainResponse,
  type GetLogRequest,
  type GetLogResponse,
  type GetServerInfoRequest,
  type GetServerInfoResponse,
  type GetSessionRequest,
  type GetSessionResponse,
  type ListSessionsRequest,
  type ListSessionsResponse,
  type RunningCall as ProtoCall,
  type Session as ProtoSession,
} from '../../gen/proto/guestfs/v1/session.js';
import { serviceRules } from '../actions/callRules.js';
import { badArgument, GuestfsError } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import { SERVER_VERSION } from '../common/version.js';
import type { RunningCall } from '../session/runningCalls.js';
import type { Session } from '../session/session.js';
import { newSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import { loadTrailers } from './capacity.js';
import { drivesOf } from './driveSpecs.js';
import { toDuration } from './durations.js';
import { isForItself } from './replicas/forwarded.js';
import type { Replicas } from './replicas/replicas.js';
import { oldestFirst, sessionsOfOthers } from './replicas/sessionsOfOthers.js';
import { plainRpc, sessionRpc, type AdmittedCall, type AnswerStream, type Rpc } from './rpc.js';
import { describeServer, type ServerInfo } from './serverInfo.js';
import { givenSessionId, sessionMetadata } from './sessionHeader.js';
import type { SessionFactory } from './sessionFactory.js';

const MAX_LABELS = 32;
const MAX_LABEL_LENGTH = 256;
const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;
/** How many of a session's calls are shown. */
const SHOWN_CALLS = 200;

const STATES = {
  CONFIG: ProtoState.CONFIG,
  LAUNCHING: ProtoState.LAUNCHING,
  READY: ProtoState.READY,
  STOPPING: ProtoState.STOPPING,
  CLOSED: ProtoState.CLOSED,
} as const;

export interface SessionServiceOptions {
  readonly registry: SessionRegistry;
  readonly factory: SessionFactory;
  readonly replicas?: Replicas | undefined;
  /** Address at which this server is reached directly, host:port. */
  readonly endpoint: () => string;
  readonly info: () => ServerInfo;
  /** Takes out of texts what clients are not to know. */
  readonly hide: (text: string) => string;
}

/** A page of sessions, and the token for the next page; empty on the last page. */
interface Page<One> {
  readonly sessions: readonly One[];
  readonly next: string;
}

/** A session, as shown to clients under its complete ID. */
function describeSession(session: Session, id: string, endpoint: string): ProtoSession {
  const { machine, launchTimings: timings } = session;
  return {
    id,
    state: STATES[session.state],
    create_time: session.createTime,
    expire_time: session.expireTime,
    accelerator:
      machine === undefined
        ? Accelerator.UNSPECIFIED
        : machine.accelerator === 'kvm'
          ? Accelerator.KVM
          : Accelerator.TCG,
    launch_kind:
      machine === undefined
        ? LaunchKind.UNSPECIFIED
        : machine.launchKind === 'cold'
          ? LaunchKind.COLD
          : LaunchKind.TEMPLATE,
    launch_timings: timings && {
      total: toDuration(timings.totalMs),
      prepare: toDuration(timings.prepareMs),
      drives: toDuration(timings.drivesMs),
      qemu: toDuration(timings.qemuMs),
      boot: toDuration(timings.bootMs),
    },
    daemon_version: session.daemonVersion?.text ?? '',
    endpoint,
    labels: new Map(session.labels),
    drives: session.drives.length,
    pending_calls: session.pendingCalls,
    server_version: SERVER_VERSION,
  };
}

function describeCall({ name, caller, since, waits }: RunningCall): ProtoCall {
  return {
    name,
    request_id: caller.requestId ?? '',
    age: toDuration(Math.round(performance.now() - since)),
    state: waits ? CallState.WAITING : CallState.RUNNING,
    abandoned: caller.isAbandoned,
  };
}

/**
 * Ends the calls of a session that have a request ID.
 * @throws GuestfsError CALL_UNKNOWN
 */
async function cancelCalls({ calls }: Session, requestId: string): Promise<readonly RunningCall[]> {
  if (requestId === '') throw badArgument('request_id', 'names no call');
  const named = calls.withId(requestId);
  if (named.length === 0)
    throw new GuestfsError(
      'CALL_UNKNOWN',
      `no call with the request ID ${requestId} waits or runs in the session: it has ended, or never arrived; call it again with the same ID to find out`,
    );
  for (const { caller } of named) caller.cancel(new GuestfsError('CANCELLED', 'the call was cancelled by CancelCall'));
  // Those that end at once do so in this turn of the event loop.
  await nextTurn();
  return named;
}

function checkLabels(labels: ReadonlyMap<string, string>): void {
  if (labels.size > MAX_LABELS)
    throw badArgument('labels', `has ${labels.size} entries; at most ${MAX_LABELS} are allowed`);
  for (const [key, value] of labels) {
    if (key === '' || key.length > MAX_LABEL_LENGTH || value.length > MAX_LABEL_LENGTH) {
      throw badArgument(
        'labels',
        `keys must have 1 to ${MAX_LABEL_LENGTH} characters, values at most ${MAX_LABEL_LENGTH}`,
      );
    }
  }
}

/** The part of a list of sessions that a request asks for. */
function pageOf<One>(all: readonly One[], request: ListSessionsRequest): Page<One> {
  if (request.page_size < 0) throw badArgument('page_size', 'must not be negative');
  const start = Number(request.page_token || 0);
  if (!/^\d*$/.test(request.page_token) || !Number.isSafeInteger(start))
    throw badArgument('page_token', 'is not one that ListSessions returned');
  const size = Math.min(request.page_size || DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE);
  const end = start + size;
  return { sessions: all.slice(start, end), next: end < all.length ? String(end) : '' };
}

/** The RPCs of SessionService. */
export function sessionRpcs({
  registry,
  factory,
  replicas,
  endpoint,
  info,
  hide,
}: SessionServiceOptions): readonly Rpc[] {
  const idOf = (name: string, identity: string | undefined): string => replicas?.idOf(name, identity) ?? name;
  const describe = (session: Session): ProtoSession =>
    describeSession(session, idOf(session.id, session.owner), endpoint());
  const create = async (
    {
      rules,
      request,
      metadata,
      identity,
      client,
      access,
      disk,
      signal,
      requestId,
      claimed,
      note,
    }: AdmittedCall<CreateSessionRequest>,
    answers: AnswerStream,
  ): Promise<CreateSessionResponse> => {
    checkLabels(request.labels);
    const idleTimeoutMs = factory.idleTimeout(request.idle_timeout);
    const settings = factory.settings(request.settings);
    const drives = await drivesOf(request.drives, access.imageRoots);
    const name = request.session_id ?? givenSessionId(metadata) ?? newSessionId();
    replicas?.requireName(name);
    note({ session: name, drives: drives.length, launched: request.launch });
    const session = registry.add(name, { identity, client, limits: access.limits }, () =>
      factory.create({ id: name, settings, labels: request.labels, owner: identity, client, disk, idleTimeoutMs }),
    );
    try {
      session.addDrives(drives, rules.name);
      if (request.launch) await session.launch(signal, requestId);
      // If the client has disconnected, a session would be orphaned.
      await claimed();
      signal.throwIfAborted();
    } catch (error) {
      await registry.delete(session);
      if (signal.aborted)
        throw new GuestfsError('CANCELLED', 'the client has gone; the session was deleted', { retryAfterMs: 0 });
      // During a shutdown SHUTTING_DOWN is the more useful error: the session can be created on another server.
      registry.refuseWhileDraining();
      throw error;
    }
    const described = describe(session);
    answers.opened(sessionMetadata(described.id));
    answers.endWith(loadTrailers(registry));
    return { id: described.id, session: described };
  };

  const { CreateSession, GetSession, ListSessions, DeleteSession } = serviceRules;
  const { CancelCall, GetLog, Drain, GetServerInfo } = serviceRules;
  return [
    plainRpc(CreateSession, create),
    sessionRpc<GetSessionRequest, GetSessionResponse>(GetSession, async ({ session }) => ({
      session: describe(session),
      calls: session.calls.all.slice(0, SHOWN_CALLS).map(describeCall),
    })),
    plainRpc<ListSessionsRequest, ListSessionsResponse>(ListSessions, async (call) => {
      const { request, identity, forwarded } = call;
      const own = registry.list(identity);
      if (request.all_replicas && forwarded === undefined && replicas?.peers !== undefined) {
        const { sessions, missing } = await sessionsOfOthers(replicas, replicas.peers, call);
        const page = pageOf(oldestFirst([...own.map(describe), ...sessions]), request);
        return { sessions: [...page.sessions], next_page_token: page.next, missing: [...missing] };
      }
      const { sessions, next } = pageOf(own, request);
      return { sessions: sessions.map(describe), next_page_token: next, missing: [] };
    }),
    sessionRpc<DeleteSessionRequest, DeleteSessionResponse>(DeleteSession, async ({ session, request }, answers) => {
      await (request.force ? registry.deleteByForce(session) : registry.delete(session));
      answers.endWith(loadTrailers(registry));
      return {};
    }),
    sessionRpc<CancelCallRequest, CancelCallResponse>(CancelCall, async ({ session, request }) => {
      const cancelled = await cancelCalls(session, request.request_id);
      const left = session.calls.all;
      return { calls: cancelled.filter((call) => left.includes(call)).map(describeCall) };
    }),
    sessionRpc<GetLogRequest, GetLogResponse>(GetLog, async ({ session: { console: log } }) => ({
      log: hide(printable(decodeGuestText(log.tail()))),
      dropped_bytes: BigInt(log.droppedBytes),
    })),
    plainRpc<DrainRequest, DrainResponse>(Drain, async ({ request }) => {
      if (request.resume) registry.refuseWhileDraining();
      registry.closeToNew(!request.resume);
      return { sessions: registry.size };
    }),
    plainRpc<GetServerInfoRequest, GetServerInfoResponse>(GetServerInfo, async ({ forwarded }, answers) => {
      if (isForItself(forwarded)) answers.opened(replicas?.introduce(endpoint(), forwarded));
      return describeServer(info(), registry, endpoint());
    }),
  ];
}

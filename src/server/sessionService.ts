/** SessionService: creates, shows and deletes sessions. */
import {
  Accelerator,
  LaunchKind,
  SessionState as ProtoState,
  type CreateSessionRequest,
  type CreateSessionResponse,
  type DeleteSessionRequest,
  type DeleteSessionResponse,
  type GetLogRequest,
  type GetLogResponse,
  type GetSessionRequest,
  type GetSessionResponse,
  type ListSessionsRequest,
  type ListSessionsResponse,
  type Session as ProtoSession,
} from '../../gen/proto/guestfs/v1/session.js';
import { serviceRules } from '../actions/callRules.js';
import { badArgument } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import { SERVER_VERSION } from '../common/version.js';
import type { Session } from '../session/session.js';
import { newSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import { drivesOf } from './driveSpecs.js';
import { toDuration } from './durations.js';
import { plainRpc, sessionRpc, type AdmittedCall, type Rpc } from './rpc.js';
import type { SessionFactory } from './sessionFactory.js';

const MAX_LABELS = 32;
const MAX_LABEL_LENGTH = 256;
const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;

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
  /** Address of this replica, host:port. */
  readonly endpoint: () => string;
  /** Takes out of texts what clients are not to know. */
  readonly hide: (text: string) => string;
}

/** A page of sessions, and the token for the next page; empty on the last page. */
interface Page {
  readonly sessions: readonly Session[];
  readonly next: string;
}

/** A session, as shown to clients. */
export function describeSession(session: Session, endpoint: string): ProtoSession {
  const { machine, launchTimings: timings } = session;
  return {
    id: session.id,
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

function page(registry: SessionRegistry, request: ListSessionsRequest, identity: string | undefined): Page {
  if (request.page_size < 0) throw badArgument('page_size', 'must not be negative');
  const start = request.page_token === '' ? 0 : Number(request.page_token);
  if (!Number.isSafeInteger(start) || start < 0)
    throw badArgument('page_token', 'is not one that ListSessions returned');
  const size = Math.min(request.page_size || DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE);
  const all = registry.list(identity);
  const end = start + size;
  return { sessions: all.slice(start, end), next: end < all.length ? String(end) : '' };
}

/** The RPCs of SessionService. */
export function sessionRpcs({ registry, factory, endpoint, hide }: SessionServiceOptions): readonly Rpc[] {
  const create = async ({
    rules,
    request,
    identity,
    client,
    access,
    disk,
    signal,
    note,
  }: AdmittedCall<CreateSessionRequest>): Promise<CreateSessionResponse> => {
    checkLabels(request.labels);
    const idleTimeoutMs = factory.idleTimeout(request.idle_timeout);
    const settings = factory.settings(request.settings);
    const drives = await drivesOf(request.drives, access.imageRoots);
    const id = request.session_id ?? newSessionId();
    note({ session: id, drives: drives.length, launched: request.launch });
    const session = registry.add(id, { identity, client, limits: access.limits }, () =>
      factory.create({ id, settings, labels: request.labels, owner: identity, client, disk, idleTimeoutMs }),
    );
    try {
      session.addDrives(drives, rules.name);
      if (request.launch) await session.launch(signal);
      signal.throwIfAborted(); // the client has disconnected: a session would be orphaned
    } catch (error) {
      await registry.delete(session);
      // During a shutdown SHUTTING_DOWN is the more useful error: the session can be created on another server.
      registry.refuseWhileDraining();
      throw error;
    }
    return { id, session: describeSession(session, endpoint()) };
  };

  const { CreateSession, GetSession, ListSessions, DeleteSession, GetLog } = serviceRules;
  return [
    plainRpc(CreateSession, create),
    sessionRpc<GetSessionRequest, GetSessionResponse>(GetSession, async ({ session }) => ({
      session: describeSession(session, endpoint()),
    })),
    plainRpc<ListSessionsRequest, ListSessionsResponse>(ListSessions, async ({ request, identity }) => {
      const { sessions, next } = page(registry, request, identity);
      return { sessions: sessions.map((session) => describeSession(session, endpoint())), next_page_token: next };
    }),
    sessionRpc<DeleteSessionRequest, DeleteSessionResponse>(DeleteSession, async ({ session, request }) => {
      await (request.force ? registry.deleteByForce(session) : registry.delete(session));
      return {};
    }),
    sessionRpc<GetLogRequest, GetLogResponse>(GetLog, async ({ session: { console: log } }) => ({
      log: hide(printable(decodeGuestText(log.tail()))),
      dropped_bytes: BigInt(log.droppedBytes),
    })),
  ];
}

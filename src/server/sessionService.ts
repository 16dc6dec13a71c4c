/** SessionService: creates, shows and deletes sessions. */
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
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
  type SessionServiceServer,
} from '../../gen/proto/guestfs/v1/session.js';
import { badArgument } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import type { Logger } from '../common/logger.js';
import { SERVER_VERSION } from '../common/version.js';
import type { ServerPolicy } from '../security/policy.js';
import type { Session } from '../session/session.js';
import { newSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import type { SessionFactory } from './sessionFactory.js';
import { identityOf, signalOf } from './callScope.js';
import { Undecodable } from './decoding.js';
import { drivesOf } from './driveSpecs.js';
import { fromDuration, toDuration } from './durations.js';
import { toStatus } from './statusMapping.js';

const MAX_LABELS = 32;
const MAX_LABEL_LENGTH = 256;
const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;

const STATES = {
  CONFIG: ProtoState.CONFIG,
  LAUNCHING: ProtoState.LAUNCHING,
  READY: ProtoState.READY,
  CLOSED: ProtoState.UNSPECIFIED,
} as const;

export interface SessionServiceOptions {
  readonly registry: SessionRegistry;
  readonly factory: SessionFactory;
  readonly policy: ServerPolicy;
  /** Where this replica is reached, host:port. */
  readonly endpoint: () => string;
  readonly logger: Logger;
}

/** A session as clients see it. */
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
      throw badArgument('labels', `keys have 1 to ${MAX_LABEL_LENGTH} characters, values at most ${MAX_LABEL_LENGTH}`);
    }
  }
}

/** Handlers of SessionService. */
export function sessionService({
  registry,
  factory,
  policy,
  endpoint,
  logger,
}: SessionServiceOptions): SessionServiceServer {
  const unary =
    <Request, Response>(
      name: string,
      body: (request: Request, identity: string | undefined, signal: AbortSignal) => Promise<Response>,
    ) =>
    (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
      const answered = (async () => {
        if (call.request instanceof Undecodable) throw call.request.error;
        return body(call.request, identityOf(call), signalOf(call));
      })();
      answered.then(
        (response) => callback(null, response),
        (error: unknown) => callback(toStatus(error, { action: name }, logger)),
      );
    };

  const create = async (
    request: CreateSessionRequest,
    identity: string | undefined,
    signal: AbortSignal,
  ): Promise<CreateSessionResponse> => {
    registry.refuseWhileDraining();
    checkLabels(request.labels);
    const idleTimeoutMs = request.idle_timeout && fromDuration('idle_timeout', request.idle_timeout);
    const settings = factory.settings(request.settings);
    const drives = await drivesOf(request.drives, policy);
    const id = request.session_id ?? newSessionId();
    const session = registry.add(id, () =>
      factory.create({ id, settings, labels: request.labels, owner: identity, idleTimeoutMs }),
    );
    try {
      session.addDrives(drives, 'CreateSession');
      if (request.launch) await session.launch(signal);
      signal.throwIfAborted(); // nobody would know of the session
    } catch (error) {
      await registry.delete(session);
      // What ended a launch on a server that stops says less than that: the session is gone, and can be created elsewhere.
      registry.refuseWhileDraining();
      throw error;
    }
    logger.info('session created', { session: id, drives: drives.length, launched: request.launch });
    return { id, session: describeSession(session, endpoint()) };
  };

  const list = (request: ListSessionsRequest, identity: string | undefined): ListSessionsResponse => {
    if (request.page_size < 0) throw badArgument('page_size', 'must not be negative');
    const start = request.page_token === '' ? 0 : Number(request.page_token);
    if (!Number.isSafeInteger(start) || start < 0)
      throw badArgument('page_token', 'is not one that ListSessions returned');
    const size = Math.min(request.page_size || DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE);
    const all = registry.list(identity);
    const end = start + size;
    return {
      sessions: all.slice(start, end).map((session) => describeSession(session, endpoint())),
      next_page_token: end < all.length ? String(end) : '',
    };
  };

  return {
    createSession: unary('CreateSession', create),
    getSession: unary(
      'GetSession',
      (request: GetSessionRequest, identity): Promise<GetSessionResponse> =>
        Promise.resolve({ session: describeSession(registry.get(request.id, identity), endpoint()) }),
    ),
    listSessions: unary('ListSessions', (request: ListSessionsRequest, identity) =>
      Promise.resolve(list(request, identity)),
    ),
    deleteSession: unary(
      'DeleteSession',
      async (request: DeleteSessionRequest, identity): Promise<DeleteSessionResponse> => {
        await registry.delete(registry.get(request.id, identity));
        logger.info('session deleted', { session: request.id });
        return {};
      },
    ),
    getLog: unary('GetLog', (request: GetLogRequest, identity): Promise<GetLogResponse> => {
      const { console: log } = registry.get(request.id, identity);
      return Promise.resolve({ log: printable(decodeGuestText(log.tail())), dropped_bytes: BigInt(log.droppedBytes) });
    }),
  };
}

/**
 * The path of every call, whatever its RPC, in this order:
 *
 *  1. identity    of the client, and what it may do at all
 *  2. session     named by the call, and owned by the client; a call for a session of another replica is passed on there
 *  3. draining    a server that shuts down takes no new work
 *  4. permission  granted by the operator of the server: by its policy, and by its flags
 *  5. refusal     of actions that make no sense over a network
 *  6. state       of the session
 *  7. arguments   decoded and checked, also against the daemon's version
 *  8. repetition  a call with the request ID of another one is the same call, and gets its answer
 *  9. turn        the daemon runs one action at a time; other calls wait, or need no turn
 * 10. answer      or the status that an error becomes
 * 11. record      one line of the log, and one of the audit log
 *
 * What an RPC needs is declared by its record in `src/actions`, and enforced here and nowhere else.
 */
import type {
  Metadata,
  MethodDefinition,
  sendUnaryData,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  StatusObject,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import type { CallRules } from '../actions/callRules.js';
import { needsDaemon } from '../actions/shape.js';
import type { Logger } from '../common/logger.js';
import { DiskQuotas } from '../images/diskQuota.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';
import { NO_OWN_LIMITS, type Access, type AccessPolicy } from '../security/access.js';
import { unauthenticated } from '../security/certificateIdentity.js';
import { notOverNetwork, requireAllowed } from '../security/policy.js';
import { requireInDaemon } from '../session/daemonSupport.js';
import type { Session } from '../session/session.js';
import { checkSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import type { EncodeAnswer } from './answerEncoding.js';
import { connectionOf } from './callConnection.js';
import { recordOf, type CallRecord } from './callRecord.js';
import { scopeOf, type CallLife, type CallScope, type ServerCall } from './callScope.js';
import { clientBehind } from './client.js';
import { checkArguments } from './checkArguments.js';
import type { Identify } from './identify.js';
import { Admitted } from './admitted.js';
import type { ActionRpc, AnswerStream, Rpc } from './rpc.js';
import { namedImages } from './namedImages.js';
import { passOn } from './replicas/forward.js';
import type { NamedAttempt } from './replicas/firstAttempts.js';
import { isForItself, type Forwarded } from './replicas/forwarded.js';
import type { Peer } from './replicas/peers.js';
import type { ForwardedClient, Replicas } from './replicas/replicas.js';
import type { SessionPlace } from './replicas/sessionIds.js';
import { givenSessionId, sessionIdOf } from './sessionHeader.js';
import { fingerprintOf } from './requestIds/fingerprint.js';
import { Ledger, type IdOwner } from './requestIds/ledger.js';
import { makeOnce, ownedBy, ownerOf } from './requestIds/makeOnce.js';
import { requestIdOf } from './requestIds/requestId.js';
import { toStatus } from './statusMapping.js';
import { passedOnIn } from './tracing/passage.js';
import { clientStreamTransport, serverStreamTransport, unaryTransport, type Transport } from './transports.js';

export interface DispatchOptions {
  readonly registry: SessionRegistry;
  /** Undefined: the server is the only one, as far as it knows. */
  readonly replicas?: Replicas | undefined;
  readonly identify: Identify;
  readonly access: AccessPolicy;
  /** Whether the actions that inspect the appliance are served. */
  readonly debugService: boolean;
  /** What clients may write to files of the host; any amount when left out. */
  readonly disks?: DiskQuotas;
  readonly logger: Logger;
  /** Removes from error texts what clients must not see. */
  readonly hide?: (text: string) => string;
}

export class Dispatch {
  readonly #registry: SessionRegistry;
  readonly #replicas: Replicas | undefined;
  readonly #identify: Identify;
  readonly #access: AccessPolicy;
  readonly #debugService: boolean;
  readonly #disks: DiskQuotas;
  readonly #logger: Logger;
  readonly #hide: (text: string) => string;
  readonly #ledger = new Ledger();

  constructor({
    registry,
    replicas,
    identify,
    access,
    debugService,
    disks = new DiskQuotas(undefined),
    logger,
    hide = (text) => text,
  }: DispatchOptions) {
    this.#hide = hide;
    this.#registry = registry;
    this.#replicas = replicas;
    this.#identify = identify;
    this.#access = access;
    this.#debugService = debugService;
    this.#disks = disks;
    this.#logger = logger;
    replicas?.firstAttempts?.rememberedBy(({ identity, id }) => this.#ledger.find(ownedBy(identity), id) !== undefined);
    registry.onSize(() =>
      this.#ledger.keepOnly((owner) => typeof owner === 'string' || registry.has(owner as Session)),
    );
  }

  /**
   * The handler of an RPC.
   * @param method needed for calls that are passed on
   */
  handler(rpc: Rpc, encode: EncodeAnswer, method?: PassedMethod): UntypedHandleCall {
    const served: Served = { rpc, method, encode };
    switch (rpc.kind) {
      case 'unary':
        return (call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>) =>
          void this.#serve(served, call, () => unaryTransport(call, callback, encode));
      case 'clientStream':
        return (call: ServerReadableStream<object, object>, callback: sendUnaryData<object>) =>
          void this.#serve(served, call, ({ signal }) => clientStreamTransport(call, callback, encode, signal));
      case 'serverStream':
        return (call: ServerWritableStream<object, object>) =>
          void this.#serve(served, call, ({ signal }) => serverStreamTransport(call, encode, signal));
    }
  }

  async #serve(served: Served, call: ServerCall, open: (scope: CallScope) => Transport): Promise<void> {
    const { rpc } = served;
    const { rules } = rpc;
    const scope = scopeOf(call);
    const transport = open(scope);
    const record = recordOf(call.metadata);
    record.began();
    if (record.span !== undefined) scope.belongsTo(record.span);
    if (record.isAudited) record.names(namedImages(rpc, transport.given));
    let session: Session | undefined;
    const statusOf = (thrown: unknown): StatusObject =>
      toStatus(
        thrown,
        { action: rules.name, ...(session && { state: session.state }), hide: this.#hide },
        this.#logger,
      );
    try {
      const identified = this.#identify({
        getAuthContext: () => call.getAuthContext(),
        metadata: call.metadata,
        connection: connectionOf(call.metadata),
      });
      const identity = identified instanceof Promise ? await identified : identified;
      record.note({ identity });
      const requestId = requestIdOf(call.metadata);
      if (requestId !== undefined) record.note({ requestId });
      const forwarded = this.#forwardedBy(rules, call.metadata);
      const client = clientBehind(identity, forwarded, call.getPeer());
      scope.onBehalfOf(client);
      const access = isForItself(forwarded) ? NO_ACCESS : await this.#access.of(identity);
      const passed = (): PassedCall => ({
        ...{ method: served.method, call, transport, forwarded, identity, client, record },
        signal: scope.signal,
      });
      const found = await this.#sessionOf(rules, call, transport, { identity, requestId }, record);
      if (found !== undefined && 'run' in found) {
        await this.#passOn(found, passed());
        return;
      }
      session = found;
      const owner = requestId === undefined ? undefined : ownerOf(rules, session, identity);
      const isRepeated = this.#isRepeated(rules, owner, requestId);
      if (!rules.whileDraining && !isRepeated) this.#registry.refuseWhileDraining();
      const refusal = this.#refusalOf(rpc, access, isRepeated ? undefined : session, transport.given);
      if (refusal !== undefined) {
        // Refused calls are traced as well, as in libguestfs.
        if (rpc.action !== undefined) await session?.traceRefused(rpc.action, transport.given ?? {});
        throw refusal;
      }
      const request = await transport.request();
      if (rpc.action !== undefined) requireArguments(rpc, request, call.metadata, session?.daemonVersion);
      const admit = (life: CallLife, chunks: AsyncIterable<Buffer>): Admitted =>
        new Admitted({ rpc, life, chunks, request, metadata: call.metadata, requestId }, record, {
          ...{ identity, client, access, session, forwarded },
          disk: this.#disks.of({ client, imageRoots: access.imageRoots, limits: access.limits }),
        });
      if (requestId === undefined || owner === undefined || rules.once === undefined) {
        const answer = await inTurn(rpc, transport.answers, admit(scope, transport.chunks));
        await transport.succeed(answer);
        return;
      }
      const make = async (): Promise<void> =>
        makeOnce({
          ...{ ledger: this.#ledger, owner, requestId, kind: rpc.kind, client, transport },
          known: { rpc: rules.name, fingerprint: await fingerprintOf(serializerOf(served), request) },
          signal: scope.signal,
          encode: served.encode,
          run: async (life, answers, chunks) => inTurn(rpc, answers, admit(life, chunks)),
          toStatus: statusOf,
          onRepeated: () => record.note({ repeated: true }),
        });
      if (rules.createsSession !== true || isRepeated || forwarded !== undefined) await make();
      else await this.#makeOnceAmongReplicas({ identity, id: requestId }, passed(), make);
    } catch (thrown) {
      transport.fail(statusOf(thrown));
    } finally {
      scope.end();
      record.ended();
    }
  }

  /**
   * Whether the call was made before, as far as its request ID tells: then neither the state of its session nor the end
   * of the server keeps it from its answer.
   * @throws GuestfsError REQUEST_ID_REUSED
   */
  #isRepeated({ name, once }: CallRules, owner: IdOwner | undefined, requestId: string | undefined): boolean {
    if (owner === undefined || requestId === undefined) return false;
    if (once !== undefined) return this.#ledger.find(owner, requestId) !== undefined;
    this.#ledger.requireUnused(owner, requestId, name);
    return false;
  }

  /** Makes a call that no session ties to a replica, unless another one has made it. @throws GuestfsError SESSION_ELSEWHERE */
  async #makeOnceAmongReplicas(attempt: NamedAttempt, passed: PassedCall, make: () => Promise<void>): Promise<void> {
    const { firstAttempts } = this.#replicas ?? {};
    if (firstAttempts === undefined) return make();
    const ended = firstAttempts.arrived(attempt);
    try {
      const other = await firstAttempts.elsewhere(attempt, passed.signal);
      if (other === undefined) return await make();
      passed.record.note({ repeated: true });
      this.#replicas?.requireForwards(other);
      await this.#passTo(other, passed);
    } finally {
      ended();
    }
  }

  /**
   * What a replica says that has passed on the call, or that makes it on its own behalf.
   * @throws GuestfsError UNAUTHENTICATED, OWNER_UNREACHABLE
   */
  #forwardedBy({ name, forReplicas }: CallRules, metadata: Metadata): Forwarded | undefined {
    const forwarded = this.#replicas?.forwardedBy(metadata);
    if (isForItself(forwarded) && forReplicas !== true)
      throw unauthenticated(`${name}: a replica must identify its client`);
    this.#replicas?.requireAimedHere(forwarded);
    return forwarded;
  }

  /**
   * The session of a call, or its place if another replica has it.
   * @throws GuestfsError SESSION_MISSING, MALFORMED_SESSION_ID, SESSION_UNKNOWN
   */
  async #sessionOf(
    rules: CallRules,
    call: ServerCall,
    transport: Transport,
    { identity, requestId }: { readonly identity: string | undefined; readonly requestId: string | undefined },
    record: CallRecord,
  ): Promise<Session | SessionPlace | undefined> {
    if (rules.session === 'none') return undefined;
    const id =
      rules.session === 'metadata'
        ? sessionIdOf(call.metadata)
        : ((await transport.request()) as { id: string }).id || (givenSessionId(call.metadata) ?? '');
    const place = this.#replicas?.placeOf(id, identity);
    if (place === undefined) checkSessionId(id);
    const name = place?.name ?? id;
    record.note({ session: name });
    if (place !== undefined && this.#replicas?.isHere(place) !== true) return place;
    // The session can have ended by the call that this one repeats.
    if (rules.once === 'identity' && this.#isRepeated(rules, ownerOf(rules, undefined, identity), requestId))
      return undefined;
    try {
      return this.#registry.get(name, identity);
    } catch (error) {
      throw place === undefined ? (this.#replicas?.unknownName(name, error) ?? error) : error;
    }
  }

  /**
   * Passes on a call to the replica that has its session.
   * @throws GuestfsError SESSION_ELSEWHERE, SESSION_LOST, OWNER_UNREACHABLE, OUTCOME_UNKNOWN
   */
  async #passOn(place: SessionPlace, passed: PassedCall): Promise<void> {
    const { replicas } = this.#forwarding(passed);
    passed.record.note({ replica: place.replica });
    await this.#passTo(await replicas.ownerOf(place, passed.forwarded), passed);
  }

  #forwarding({ method }: PassedCall): { readonly replicas: Replicas; readonly method: PassedMethod } {
    if (this.#replicas === undefined || method === undefined) throw new Error('calls are not passed on');
    return { replicas: this.#replicas, method };
  }

  /** @throws GuestfsError SESSION_LOST, OWNER_UNREACHABLE, OUTCOME_UNKNOWN */
  async #passTo(owner: Peer, passed: PassedCall): Promise<void> {
    const { replicas, method } = this.#forwarding(passed);
    const { call, transport, record, signal } = passed;
    record.note({ replica: owner.replica });
    const deadline = call.getDeadline();
    const { metadata } = call;
    const to = { path: method.path, address: owner.link.address, replica: owner.replica };
    const { code } = await passedOnIn(record.span, to, metadata, (headers) =>
      passOn({
        ...{ transport, signal, replica: owner.replica, encode: method.requestSerialize },
        open: () => replicas.call(owner, { path: method.path, metadata: headers, deadline }, passed),
      }),
    );
    record.note({ forwardedAs: code });
  }

  /** Permission, refusal and state: the error of a call that is not admitted. */
  #refusalOf({ rules }: Rpc, access: Access, session: Session | undefined, given = {}): unknown {
    try {
      access.requireCall(rules);
      requireAllowed(rules, given, { allowed: access.allowed, debugService: this.#debugService });
      if (rules.refusal !== undefined) throw notOverNetwork(rules.name, rules.refusal);
      if (rules.states !== undefined) session?.requireState(rules.states, rules.name);
      return undefined;
    } catch (refusal) {
      return refusal;
    }
  }
}

/** An RPC and its method. */
interface Served {
  readonly rpc: Rpc;
  readonly method: PassedMethod | undefined;
  readonly encode: EncodeAnswer;
}

/** Encodes the request of an RPC, or the arguments of an upload, for its fingerprint. */
function serializerOf({ rpc, method }: Served): (request: object) => Buffer {
  if (method === undefined) throw new Error(`the method of ${rpc.rules.name} is not known`);
  const { requestSerialize } = method;
  return rpc.kind === 'clientStream'
    ? (value) => requestSerialize({ payload: { $case: 'arguments', value } })
    : requestSerialize;
}

/** What is needed of a method to pass on its calls. */
export type PassedMethod = Pick<MethodDefinition<object, object>, 'path' | 'requestSerialize'>;

interface PassedCall extends ForwardedClient {
  readonly method: PassedMethod | undefined;
  readonly call: ServerCall;
  readonly transport: Transport;
  readonly forwarded: Forwarded | undefined;
  readonly record: CallRecord;
  readonly signal: AbortSignal;
}

/** A replica that calls on its own behalf can do nothing but ask who answers. */
const NO_ACCESS: Access = {
  imageRoots: { directories: [] },
  allowed: new Set(),
  limits: NO_OWN_LIMITS,
  requireCall: () => undefined,
};

/** @throws GuestfsError BAD_ARGUMENT; ACTION_NOT_IN_DAEMON if the session's daemon is too old */
function requireArguments(
  { action, check }: ActionRpc,
  request: object,
  metadata: Metadata,
  version: DaemonVersion | undefined,
): void {
  checkArguments(action, request);
  check?.(request, metadata);
  if (action.impl === 'daemon' && version !== undefined) requireInDaemon(action, request, version);
}

/** Runs the call: a daemon action in its turn, everything else immediately. */
function inTurn(rpc: Rpc, answers: AnswerStream, call: Admitted): Promise<object> {
  if (rpc.action === undefined) {
    call.begun();
    return rpc.perform(call, answers);
  }
  const { action, perform } = rpc;
  const { session, request } = call;
  if (session === undefined) throw new Error(`${action.name} has no session`);
  if (needsDaemon(action))
    return session.perform(action, request, call.signal, (daemon) => perform(call.inTurn(daemon), answers), call);
  return session.performOutOfTurn(action, request, () => perform(call.inTurn(undefined), answers), call);
}

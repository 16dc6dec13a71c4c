/**
 * The path of every call, whatever its RPC, in this order:
 *
 *  1. identity    of the client, and what it may do at all
 *  2. session     named by the call, and owned by the client
 *  3. draining    a server that shuts down takes no new work
 *  4. permission  granted by the operator of the server: by its policy, and by its flags
 *  5. refusal     of actions that make no sense over a network
 *  6. state       of the session
 *  7. arguments   decoded and checked, also against the daemon's version
 *  8. turn        the daemon runs one action at a time; other calls wait, or need no turn
 *  9. answer      or the status that an error becomes
 * 10. record      one line of the log, and one of the audit log
 *
 * What an RPC needs is declared by its record in `src/actions`, and enforced here and nowhere else.
 */
import type {
  Metadata,
  sendUnaryData,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import type { CallRules } from '../actions/callRules.js';
import { needsDaemon } from '../actions/shape.js';
import type { Logger } from '../common/logger.js';
import { DiskQuotas } from '../images/diskQuota.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';
import type { Access, AccessPolicy } from '../security/access.js';
import { notOverNetwork, requireAllowed } from '../security/policy.js';
import { requireInDaemon } from '../session/daemonSupport.js';
import type { Session } from '../session/session.js';
import { checkSessionId, type SessionRegistry } from '../session/sessionRegistry.js';
import type { EncodeAnswer } from './answerEncoding.js';
import { connectionOf } from './callConnection.js';
import { recordOf, type CallRecord } from './callRecord.js';
import { scopeOf, type CallScope, type ServerCall } from './callScope.js';
import { clientKey } from './client.js';
import { checkArguments } from './checkArguments.js';
import type { Identify } from './identify.js';
import { Admitted } from './admitted.js';
import type { ActionRpc, Rpc } from './rpc.js';
import { namedImages } from './namedImages.js';
import { sessionIdOf } from './sessionHeader.js';
import { toStatus } from './statusMapping.js';
import { clientStreamTransport, serverStreamTransport, unaryTransport, type Transport } from './transports.js';

export interface DispatchOptions {
  readonly registry: SessionRegistry;
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
  readonly #identify: Identify;
  readonly #access: AccessPolicy;
  readonly #debugService: boolean;
  readonly #disks: DiskQuotas;
  readonly #logger: Logger;
  readonly #hide: (text: string) => string;

  constructor({
    registry,
    identify,
    access,
    debugService,
    disks = new DiskQuotas(undefined),
    logger,
    hide = (text) => text,
  }: DispatchOptions) {
    this.#hide = hide;
    this.#registry = registry;
    this.#identify = identify;
    this.#access = access;
    this.#debugService = debugService;
    this.#disks = disks;
    this.#logger = logger;
  }

  /** The handler of an RPC. */
  handler(rpc: Rpc, encode: EncodeAnswer): UntypedHandleCall {
    switch (rpc.kind) {
      case 'unary':
        return (call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>) =>
          void this.#serve(rpc, call, () => unaryTransport(call, callback, encode));
      case 'clientStream':
        return (call: ServerReadableStream<object, object>, callback: sendUnaryData<object>) =>
          void this.#serve(rpc, call, ({ signal }) => clientStreamTransport(call, callback, encode, signal));
      case 'serverStream':
        return (call: ServerWritableStream<object, object>) =>
          void this.#serve(rpc, call, ({ signal }) => serverStreamTransport(call, encode, signal));
    }
  }

  async #serve(rpc: Rpc, call: ServerCall, open: (scope: CallScope) => Transport): Promise<void> {
    const { rules } = rpc;
    const scope = scopeOf(call);
    const transport = open(scope);
    const record = recordOf(call.metadata);
    record.began();
    if (record.isAudited) record.names(namedImages(rpc, transport.given));
    let session: Session | undefined;
    try {
      const identified = this.#identify({
        getAuthContext: () => call.getAuthContext(),
        metadata: call.metadata,
        connection: connectionOf(call.metadata),
      });
      const identity = identified instanceof Promise ? await identified : identified;
      record.note({ identity });
      const client = clientKey(identity, call.getPeer());
      scope.onBehalfOf(client);
      const access = await this.#access.of(identity);
      session = await this.#sessionOf(rules, call, transport, identity, record);
      if (!rules.whileDraining) this.#registry.refuseWhileDraining();
      const refusal = this.#refusalOf(rpc, access, session, transport.given);
      if (refusal !== undefined) {
        // Refused calls are traced as well, as in libguestfs.
        if (rpc.action !== undefined) await session?.traceRefused(rpc.action, transport.given ?? {});
        throw refusal;
      }
      const request = await transport.request();
      if (rpc.action !== undefined) requireArguments(rpc, request, call.metadata, session?.daemonVersion);
      const admitted = new Admitted({ rpc, scope, transport, request, metadata: call.metadata }, record, {
        ...{ identity, client, access, session },
        disk: this.#disks.of({ client, imageRoots: access.imageRoots, limits: access.limits }),
      });
      const answer = await inTurn(rpc, transport, admitted);
      await transport.succeed(answer);
    } catch (thrown) {
      transport.fail(
        toStatus(
          thrown,
          { action: rules.name, ...(session && { state: session.state }), hide: this.#hide },
          this.#logger,
        ),
      );
    } finally {
      scope.end();
      record.ended();
    }
  }

  /** @throws GuestfsError SESSION_MISSING, MALFORMED_SESSION_ID, SESSION_UNKNOWN */
  async #sessionOf(
    { session: reference }: CallRules,
    call: ServerCall,
    transport: Transport,
    identity: string | undefined,
    record: CallRecord,
  ): Promise<Session | undefined> {
    if (reference === 'none') return undefined;
    const id =
      reference === 'metadata' ? sessionIdOf(call.metadata) : ((await transport.request()) as { id: string }).id;
    checkSessionId(id);
    record.note({ session: id });
    return this.#registry.get(id, identity);
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
function inTurn(rpc: Rpc, { answers }: Transport, call: Admitted): Promise<object> {
  if (rpc.action === undefined) return rpc.perform(call, answers);
  const { action, perform } = rpc;
  const { session, request } = call;
  if (session === undefined) throw new Error(`${action.name} has no session`);
  if (needsDaemon(action))
    return session.perform(action, request, call.signal, (daemon) => perform(call.inTurn(daemon), answers));
  return session.performOutOfTurn(action, request, () => perform(call.inTurn(undefined), answers));
}

/** The gRPC server: all services on one address, health, reflection, and graceful shutdown. */
import { Server, type ServerOptions, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { daemonCalls } from '../../gen/calls/index.js';
import { EventServiceService } from '../../gen/proto/guestfs/v1/event.js';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { services } from '../../gen/services.js';
import { areas } from '../actions/areas.js';
import type { CompositeRpcName } from '../actions/compositeRpcs.js';
import { camelCase } from '../actions/names.js';
import { hasRpc, isFileOut } from '../actions/shape.js';
import type { Logger } from '../common/logger.js';
import { REQUEST_LIMIT } from '../common/messageLimits.js';
import { linkedAbort, onAbort } from '../common/waiting.js';
import { DiskQuotas } from '../images/diskQuota.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { ServerLimits } from './limits.js';
import type { AccessPolicy } from '../security/access.js';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import { actionRpc } from './actionRpc.js';
import { addLoadReports, watchRoom } from './capacity.js';
import { answerEncoder, type EncodeAnswer } from './answerEncoding.js';
import { decodingSafely, keepingEncodings } from './decoding.js';
import { Dispatch } from './dispatch.js';
import { eventRpcs } from './eventService.js';
import type { AuditLog } from './auditLog.js';
import type { Identify } from './identify.js';
import { hidingHostPaths, type ServerDirectories } from './hostPaths.js';
import { inspectRpc } from './inspect.js';
import { rpcNameOf, rpcOf, type ServiceMember } from './methods.js';
import { startListening, type Listening } from './listening.js';
import { RequestMemory } from './requestMemory.js';
import { observeCalls } from './observeCalls.js';
import type { CallTracer } from './tracing/callSpan.js';
import { http2ServersOf, http2StreamOf } from './grpcInternals.js';
import { addReflection } from './reflection.js';
import { limitingCalls } from './callsInFlight.js';
import { guardConnections, type Connections } from './connections.js';
import { EndlessStreams } from './endlessStreams.js';
import { FlowWindows } from './flowWindows.js';
import { limitingRequests } from './requestLimit.js';
import { paceCalls } from './pacedCalls.js';
import { oneMessageAtATime } from './requestFlow.js';
import type { Rpc } from './rpc.js';
import type { SessionFactory } from './sessionFactory.js';
import { clientsBy } from './client.js';
import { sessionIdOf } from './sessionHeader.js';
import type { Replicas } from './replicas/replicas.js';
import type { ServerInfo } from './serverInfo.js';
import { sessionRpcs } from './sessionService.js';

/** How long open streams may take to end after the drain, milliseconds. */
const STREAMS_GRACE_MS = 5000;

export interface GrpcServerOptions extends Listening {
  readonly identify: Identify;
  readonly registry: SessionRegistry;
  readonly factory: SessionFactory;
  /** Undefined: the server is the only one. */
  readonly replicas?: Replicas | undefined;
  /** Address at which this server is reached directly; by default the one it listens on. */
  readonly advertised?: ((address: string) => string) | undefined;
  /** Facts for GetServerInfo that the server does not know itself. */
  readonly info?: (() => Partial<ServerInfo>) | undefined;
  readonly access: AccessPolicy;
  readonly probe: ForeignImageProbe;
  readonly debugService: boolean;
  /** Whether Channelz is served, to clients with the permission; false when left out. */
  readonly channelz?: boolean | undefined;
  /** For large requests, bytes. */
  readonly requestMemory: number;
  readonly limits: ServerLimits;
  /** What each client may write to files of the host, bytes; undefined: any amount. */
  readonly diskBytes?: number | undefined;
  /** The locations to hide from clients; undefined: none. */
  readonly directories?: ServerDirectories;
  readonly logger: Logger;
  /** Gets a line for each call that changes something. */
  readonly audit?: AuditLog | undefined;
  /** Undefined: calls are not traced. */
  readonly tracer?: CallTracer | undefined;
}

export interface GrpcServer {
  /** The address it listens on, host:port or unix:/path. */
  readonly address: string;
  /**
   * Health becomes NOT_SERVING, so that load balancers choose another server, and clients are asked to connect anew;
   * everything is served as before.
   */
  announceEnd(): void;
  /**
   * Drains and stops: health becomes NOT_SERVING, new sessions and calls are refused, open sessions are synced and
   * closed, then the connections are closed.
   * @param grace when it aborts, sessions are killed and connections closed at once
   * @param callsMs how long calls may go on before their sessions are closed
   * @throws AggregateError after all of that, if a session ended with an error
   */
  stop(grace?: AbortSignal, callsMs?: number): Promise<void>;
}

/** The services whose health is reported. */
function serviceNames(): string[] {
  return [
    ...areas.flatMap((area) => (area.service === undefined ? [] : [area.service])),
    'SessionService',
    'EventService',
  ].map((name) => `guestfs.v1.${name}`);
}

/** The service whose health says whether there is room for a session. */
const SESSION_SERVICE = 'guestfs.v1.SessionService';

/**
 * Admits the request of an action, as far as its session is concerned.
 * @throws GuestfsError as the call would, if it is for a session of this server
 */
function admit(
  registry: SessionRegistry,
  replicas: Replicas | undefined,
  id: string,
  identity: string | undefined,
): void {
  const place = replicas?.placeOf(id, identity);
  if (place === undefined || replicas?.isHere(place) === true) registry.get(place?.name ?? id, identity);
}

/** Closes the connections; those with open streams after a while, or when `grace` aborts. */
async function closeConnections(
  server: Server,
  connections: Connections,
  grace: AbortSignal | undefined,
): Promise<void> {
  const limit = linkedAbort(grace === undefined ? [] : [grace], {
    milliseconds: STREAMS_GRACE_MS,
    makeError: () => new Error('streams are still open'),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.tryShutdown((error) => (error === undefined ? resolve() : reject(error)));
      onAbort(limit.signal, () => {
        // Before grpc-js does it, with an error code.
        connections.cut();
        server.forceShutdown();
        resolve();
      });
    });
  } finally {
    limit.release();
  }
}

/** Files arrive in chunks of limited size, and have their own encoding. */
function encoderOf({ action, rules }: Rpc, method: ServiceMember['method']): EncodeAnswer {
  if (action !== undefined && isFileOut(action)) return (answer) => answer;
  return answerEncoder(rules.name, method.responseSerialize);
}

/** How grpc-js finds out that a connection is dead. */
function connectionOptions({ keepaliveMs, keepaliveTimeoutMs }: ServerLimits): ServerOptions {
  return {
    ...(keepaliveMs === undefined ? {} : { 'grpc.keepalive_time_ms': keepaliveMs }),
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
  };
}

/** Starts serving. */
export async function serve(options: GrpcServerOptions): Promise<GrpcServer> {
  const { registry, factory, replicas, limits, logger } = options;
  const clientOf = clientsBy(options.identify, replicas?.forwardedBy);
  const server = new Server({
    'grpc.max_receive_message_length': REQUEST_LIMIT,
    'grpc.max_concurrent_streams': limits.callsPerConnection,
    'grpc.max_send_message_length': -1,
    // What it counts costs each call a little.
    'grpc.enable_channelz': options.channelz === true ? 1 : 0,
    ...connectionOptions(limits),
    interceptors: [
      observeCalls(logger, options.audit, options.tracer),
      limitingCalls(limits.callsPerClient, clientOf, logger),
      limitingRequests({
        clientOf,
        windows: new FlowWindows(),
        memory: new RequestMemory(options.requestMemory),
        stallMs: options.limits.stallMs,
        admit: (rpc, metadata, call) => {
          if (rpc.action === undefined) return;
          const identity = options.identify({
            getAuthContext: () => call.getAuthContext(),
            metadata,
            connection: http2StreamOf(call).session,
          });
          // An identity that takes time to find is left to the dispatch.
          if (identity instanceof Promise) identity.catch(() => undefined);
          else admit(registry, replicas, sessionIdOf(metadata), identity);
        },
        logger,
      }),
      oneMessageAtATime,
    ],
  });
  let address = options.listen;
  const add = (definition: ServiceDefinition, implementation: UntypedServiceImplementation): void => {
    const missing = Object.keys(definition).filter((key) => implementation[key] === undefined);
    if (missing.length > 0) throw new Error(`no handlers for ${missing.join(', ')}`);
    const decoding = decodingSafely(definition);
    server.addService(replicas?.forwards === true ? keepingEncodings(decoding) : decoding, implementation);
  };
  const hide = options.directories === undefined ? (text: string) => text : hidingHostPaths(options.directories);
  const dispatch = new Dispatch({
    registry,
    replicas,
    identify: options.identify,
    access: options.access,
    debugService: options.debugService,
    disks: new DiskQuotas(options.diskBytes),
    logger,
    hide,
  });
  const addRpcs = (definition: ServiceDefinition, rpcs: readonly Rpc[]): void => {
    const handlers = rpcs.map((rpc) => {
      const { key, method } = rpcOf(definition, rpcNameOf(rpc));
      return [key, dispatch.handler(rpc, encoderOf(rpc, method), method)] as const;
    });
    add(definition, Object.fromEntries(handlers));
  };
  const startTime = new Date();
  const info = (): ServerInfo => ({
    ...{ replica: replicas?.self.replica ?? '', startTime, launch: {}, settings: undefined },
    ...{ sessionsPerClient: undefined, requestMemory: options.requestMemory, callsPerClient: limits.callsPerClient },
    ...options.info?.(),
  });
  const endpoint = (): string => options.advertised?.(address) ?? address;
  addRpcs(SessionServiceService, sessionRpcs({ registry, factory, replicas, endpoint, info, hide }));
  addRpcs(EventServiceService, eventRpcs(hide));
  /** The RPCs that are not actions, by name. */
  const composites: Readonly<Record<CompositeRpcName, Rpc>> = {
    Inspect: inspectRpc({ registry, factory, probe: options.probe, replicas }),
  };
  for (const area of areas) {
    const definition = services[area.name];
    if (definition === undefined) continue;
    const actions = area.actions
      .filter(hasRpc)
      .map((action) => actionRpc(action, daemonCalls[camelCase(action.name)], { probe: options.probe }));
    const others = (area.compositeRpcs ?? []).map(({ name }) => composites[name]);
    addRpcs(definition, [...actions, ...others]);
  }
  if (options.channelz === true) (await import('./channelz.js')).addChannelz(server, dispatch);
  const health = new HealthImplementation(Object.fromEntries(['', ...serviceNames()].map((name) => [name, 'SERVING'])));
  // Their streams would last as long as their clients like.
  const endless = new EndlessStreams(server);
  health.addToServer(endless);
  const endReports = addLoadReports(server, registry);
  addReflection(endless, options.channelz === true);

  address = await startListening(server, options);
  const http2Servers = http2ServersOf(server);
  paceCalls(http2Servers);
  const connections = guardConnections(http2Servers, limits, logger, () => replicas?.peers?.connections ?? 0);

  let announced = false;
  const announceEnd = (): void => {
    // Whoever watches the health is told of each setting.
    if (announced) return;
    announced = true;
    for (const name of ['', ...serviceNames()]) health.setStatus(name, 'NOT_SERVING');
    connections.retire();
  };
  watchRoom(registry, (hasRoom) => {
    if (!announced) health.setStatus(SESSION_SERVICE, hasRoom ? 'SERVING' : 'NOT_SERVING');
  });
  let stopping: Promise<void> | undefined;
  const stop = async (grace: AbortSignal | undefined, callsMs: number | undefined): Promise<void> => {
    announceEnd();
    try {
      await registry.drain(grace, callsMs);
    } finally {
      connections.unguard();
      endReports();
      endless.end();
      await closeConnections(server, connections, grace);
      replicas?.close();
    }
  };
  return { address, announceEnd, stop: (grace, callsMs) => (stopping ??= stop(grace, callsMs)) };
}

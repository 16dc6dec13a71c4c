/** The gRPC server: all services on one address, health and reflection, and an orderly end. */
import {
  Server,
  type ServerCredentials,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { daemonCalls } from '../../gen/calls/index.js';
import { EventServiceService } from '../../gen/proto/guestfs/v1/event.js';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { services } from '../../gen/services.js';
import { areas } from '../actions/areas.js';
import type { CompositeRpcName } from '../actions/compositeRpcs.js';
import { camelCase } from '../actions/names.js';
import { hasRpc } from '../actions/shape.js';
import type { Logger } from '../common/logger.js';
import { REQUEST_LIMIT } from '../common/messageLimits.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { ServerPolicy } from '../security/policy.js';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import { addressText } from './address.js';
import { encodingAnswers } from './answerEncoding.js';
import { decodingSafely } from './decoding.js';
import { eventService } from './eventService.js';
import { ActionInvoker } from './invoker.js';
import { inspectHandler } from './inspect.js';
import { methodOf, rpcOf } from './methods.js';
import { countCalls } from './metrics.js';
import { refusing } from './refusing.js';
import { RequestMemory } from './largeRequests.js';
import { addReflection } from './reflection.js';
import { limitingRequests } from './requestLimit.js';
import { oneMessageAtATime } from './requestFlow.js';
import type { SessionFactory } from './sessionFactory.js';
import { sessionService } from './sessionService.js';

/** Connections that are silent are asked for a sign of life this often, milliseconds. */
const KEEPALIVE_INTERVAL_MS = 30_000;
/** A drained server gives open streams this long to end, milliseconds. */
const DRAIN_GRACE_MS = 5000;

export interface GrpcServerOptions {
  readonly listen: string;
  readonly credentials: ServerCredentials;
  readonly registry: SessionRegistry;
  readonly factory: SessionFactory;
  readonly policy: ServerPolicy;
  readonly probe: ForeignImageProbe;
  readonly debugService: boolean;
  /** For large requests, bytes. */
  readonly requestMemory: number;
  readonly logger: Logger;
}

export interface GrpcServer {
  /** Where it listens, host:port. */
  readonly address: string;
  /** Stops: not serving, no new sessions, the open ones synced and closed, then the connections. */
  stop(): Promise<void>;
}

/** The services that clients are told the health of. */
function serviceNames(): string[] {
  return [
    ...areas.flatMap((area) => (area.service === undefined ? [] : [area.service])),
    'SessionService',
    'EventService',
  ].map((name) => `guestfs.v1.${name}`);
}

/** Starts serving. */
export async function serve(options: GrpcServerOptions): Promise<GrpcServer> {
  const { registry, factory, policy, logger } = options;
  const server = new Server({
    'grpc.max_receive_message_length': REQUEST_LIMIT,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL_MS,
    interceptors: [
      limitingRequests({ memory: new RequestMemory(options.requestMemory), logger }),
      oneMessageAtATime,
      countCalls,
      encodingAnswers(logger),
    ],
  });
  let address = options.listen;
  const add = (definition: ServiceDefinition, implementation: UntypedServiceImplementation): void => {
    const missing = Object.keys(definition).filter((key) => implementation[key] === undefined);
    if (missing.length > 0) throw new Error(`no handlers for ${missing.join(', ')}`);
    server.addService(decodingSafely(definition), implementation);
  };
  add(SessionServiceService, sessionService({ registry, factory, policy, endpoint: () => address, logger }));
  add(EventServiceService, eventService({ registry, logger }));
  const invoker = new ActionInvoker({ registry, policy, probe: options.probe, logger });
  /** By name, the RPCs that are no actions. */
  const composites: Readonly<Record<CompositeRpcName, UntypedHandleCall>> = {
    Inspect: inspectHandler({ registry, factory, policy, probe: options.probe, logger }),
  };
  for (const area of areas) {
    const definition = services[area.name];
    if (definition === undefined) continue;
    const refused = area.name === 'debug' && !options.debugService;
    const handlers = area.actions.filter(hasRpc).map((action) => {
      const { key } = methodOf(definition, action);
      return [
        key,
        refused
          ? refusing(action, '--debug-service', logger)
          : invoker.handler(action, daemonCalls[camelCase(action.name)]),
      ] as const;
    });
    const others = (area.compositeRpcs ?? []).map(
      ({ name }) => [rpcOf(definition, name).key, composites[name]] as const,
    );
    add(definition, Object.fromEntries([...handlers, ...others]));
  }
  const health = new HealthImplementation(Object.fromEntries(['', ...serviceNames()].map((name) => [name, 'SERVING'])));
  health.addToServer(server);
  await addReflection(server);

  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(options.listen, options.credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  address = addressText(options.listen, port);

  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    for (const name of ['', ...serviceNames()]) health.setStatus(name, 'NOT_SERVING');
    await registry.drain();
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => {
        server.forceShutdown();
        resolve();
      }, DRAIN_GRACE_MS);
      server.tryShutdown(() => {
        clearTimeout(force);
        resolve();
      });
    });
  };
  return { address, stop: () => (stopping ??= stop()) };
}

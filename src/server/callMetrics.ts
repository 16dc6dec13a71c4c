/** Metrics of calls, named as those of go-grpc's Prometheus middleware, so that its dashboards and alerts work. */
import { constants } from 'node:os';
import { status } from '@grpc/grpc-js';
import { Counter, Histogram } from 'prom-client';
import { kindLabel } from './identityKinds.js';
import { metrics } from './metrics.js';

const OF_A_METHOD = ['grpc_type', 'grpc_service', 'grpc_method'] as const;
/** From the fastest calls, which never leave the server, to transfers of large images; seconds. */
const BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300];

const started = new Counter({
  name: 'grpc_server_started_total',
  help: 'RPCs started on the server.',
  labelNames: OF_A_METHOD,
  registers: [metrics],
});

const handled = new Counter({
  name: 'grpc_server_handled_total',
  help: 'RPCs completed on the server, by status; those that their clients cancelled are included.',
  labelNames: [...OF_A_METHOD, 'grpc_code'] as const,
  registers: [metrics],
});

const handlingSeconds = new Histogram({
  name: 'grpc_server_handling_seconds',
  help: 'Time from the start of an RPC until it was answered or cancelled.',
  labelNames: OF_A_METHOD,
  buckets: BUCKETS,
  registers: [metrics],
});

const failures = new Counter({
  name: 'guestfs_call_failures_total',
  help: 'RPCs that failed, by the reason in ErrorInfo; without one, the name of the status.',
  labelNames: ['reason'] as const,
  registers: [metrics],
});

const refusals = new Counter({
  name: 'guestfs_refusals_total',
  help: "RPCs that were refused, by status and kind of the client's identity: without proof of identity, without permission, or over a limit.",
  labelNames: ['grpc_code', 'identity_kind'] as const,
  registers: [metrics],
});

const REFUSALS: ReadonlySet<status> = new Set([
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.RESOURCE_EXHAUSTED,
]);

/** Counts a call that ended with a status, if it was refused. */
export function countRefusal(code: status, identity: string | undefined): void {
  if (REFUSALS.has(code)) refusals.inc({ grpc_code: status[code], identity_kind: kindLabel(identity) });
}

/** Those of Linux that Node.js does not know, and guests' tools cause. */
const MORE_ERRNOS = [
  'EUCLEAN',
  'EREMOTEIO',
  'ENOKEY',
  'EKEYREJECTED',
  'ENOMEDIUM',
  'EMEDIUMTYPE',
  'ENOTUNIQ',
  'ESTALE',
];
const ERRNOS: ReadonlySet<string> = new Set([...Object.keys(constants.errno), ...MORE_ERRNOS]);

/** The label for a reason. A hostile appliance can make up any number of names of errnos. */
export function reasonLabel(reason: string): string {
  return /^E[A-Z0-9]+$/.test(reason) && !ERRNOS.has(reason) ? 'EOTHER' : reason;
}

/** A method, as interceptors see it. */
export interface MeteredMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** The metrics of one method. Looking up children by their labels would cost more than counting. */
export class CallMeter {
  readonly #labels: { grpc_type: string; grpc_service: string; grpc_method: string };
  readonly #started: Counter.Internal;
  readonly #seconds: Histogram.Internal<(typeof OF_A_METHOD)[number]>;
  readonly #handled = new Map<status, Counter.Internal>();

  constructor({ path, requestStream, responseStream }: MeteredMethod) {
    const [, service = '', name = ''] = path.split('/');
    const type = requestStream ? (responseStream ? 'bidi_stream' : 'client_stream') : undefined;
    this.#labels = {
      grpc_type: type ?? (responseStream ? 'server_stream' : 'unary'),
      grpc_service: service,
      grpc_method: name,
    };
    this.#started = started.labels(this.#labels);
    this.#seconds = handlingSeconds.labels(this.#labels);
  }

  /** Counts the start of a call. @returns a function to be called once with how it ended */
  begin(): (code: status, reason: string | undefined) => void {
    this.#started.inc();
    const before = performance.now();
    return (code, reason) => {
      this.#seconds.observe((performance.now() - before) / 1000);
      this.#handledWith(code).inc();
      if (reason !== undefined) failures.inc({ reason: reasonLabel(reason) });
    };
  }

  #handledWith(code: status): Counter.Internal {
    let counter = this.#handled.get(code);
    if (counter === undefined) {
      counter = handled.labels({ ...this.#labels, grpc_code: status[code] });
      this.#handled.set(code, counter);
    }
    return counter;
  }
}

const meters = new Map<string, CallMeter>();

/** The meter of a method. Only methods that exist are intercepted, so their number is limited. */
export function meterOf(method: MeteredMethod): CallMeter {
  let meter = meters.get(method.path);
  if (meter === undefined) {
    meter = new CallMeter(method);
    meters.set(method.path, meter);
  }
  return meter;
}

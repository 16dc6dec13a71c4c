/** Metrics of the gateway: what its clients do. Those of calls by method are the server's. */
import type { ServerResponse } from 'node:http';
import { status } from '@grpc/grpc-js';
import { Counter, Gauge, Histogram } from 'prom-client';
import { metrics } from '../server/metrics.js';
import type { Protocol } from './protocols.js';

/** From small calls to downloads of large images; seconds. */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300];

const handled = new Counter({
  name: 'guestfs_gateway_calls_total',
  help: 'Calls that ended, by protocol and status; those that their clients cancelled are included.',
  labelNames: ['protocol', 'grpc_code'] as const,
  registers: [metrics],
});

const seconds = new Histogram({
  name: 'guestfs_gateway_call_seconds',
  help: 'Time from the headers of a call until it was answered or cancelled.',
  labelNames: ['protocol'] as const,
  buckets: BUCKETS,
  registers: [metrics],
});

const inFlight = new Gauge({
  name: 'guestfs_gateway_calls_in_flight',
  help: 'Calls that have not ended.',
  registers: [metrics],
});

const refused = new Counter({
  name: 'guestfs_gateway_requests_refused_total',
  help: 'Requests that are no calls, by HTTP status: of pages that may not make any, for example.',
  labelNames: ['status'] as const,
  registers: [metrics],
});

/** Counts a request that is no call. */
export function countRefused(code: number): void {
  refused.inc({ status: String(code) });
}

/** What is measured when it is asked for. */
export interface Measured {
  readonly connections: () => number;
  /** Bytes of requests that are held. */
  readonly memory: () => number;
}

/** Registers the gauges. */
export function measureGateway({ connections, memory }: Measured): void {
  new Gauge({
    name: 'guestfs_gateway_connections',
    help: 'Connections of clients.',
    registers: [metrics],
    collect() {
      this.set(connections());
    },
  });
  new Gauge({
    name: 'guestfs_gateway_request_memory_bytes',
    help: 'Memory that requests on their way to the server take.',
    registers: [metrics],
    collect() {
      this.set(memory());
    },
  });
}

/** A call that is measured. */
export interface MeasuredCall {
  /** Notes how it ends, as far as the server or the gateway says; only the first status counts. */
  ended(code: status): void;
}

/** Measures a call until its response is closed. */
export function measureCall({ kind: protocol }: Protocol, response: ServerResponse): MeasuredCall {
  const before = performance.now();
  let how: status | undefined;
  inFlight.inc();
  response.once('close', () => {
    // Connect's handlers answer requests that they cannot decode by themselves.
    const code = how ?? (response.writableFinished ? status.INVALID_ARGUMENT : status.CANCELLED);
    inFlight.dec();
    handled.inc({ protocol, grpc_code: status[code] });
    seconds.observe({ protocol }, (performance.now() - before) / 1000);
  });
  return {
    ended: (code) => {
      how ??= code;
    },
  };
}

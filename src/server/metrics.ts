/** Prometheus metrics over HTTP. */
import { createServer, type Server as HttpServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import { splitAddress } from './address.js';

/** All metrics of this process. */
const metrics = new Registry();

const handled = new Counter({
  name: 'grpc_server_handled_total',
  help: 'RPCs completed on the server, by status.',
  labelNames: ['grpc_service', 'grpc_method', 'grpc_code'] as const,
  registers: [metrics],
});

/** By path and code. Only methods that exist are observed, so it does not grow. */
const handledBy = new Map<string, Counter.Internal>();

/** Counts a call by the status that it ended with. */
export function countHandled(path: string, code: status): void {
  const key = `${path} ${code}`;
  let counter = handledBy.get(key);
  if (counter === undefined) {
    const [, service = '', name = ''] = path.split('/');
    counter = handled.labels({ grpc_service: service, grpc_method: name, grpc_code: status[code] });
    handledBy.set(key, counter);
  }
  counter.inc();
}

/** Scrapers are few; more would take descriptors from sessions. */
const MAX_CONNECTIONS = 32;

const STATES = ['CONFIG', 'LAUNCHING', 'READY', 'STOPPING', 'CLOSED'] as const;

/** Gauges, read when the metrics are scraped. */
export interface Measured {
  readonly registry: SessionRegistry;
  /** How many clones the pool contains; undefined if there is no pool. */
  readonly waitingClones: () => number | undefined;
}

/** Serves /metrics at an address of the form host:port. */
export async function serveMetrics(
  listen: string,
  { registry, waitingClones }: Measured,
): Promise<{ readonly address: string; close(): Promise<void> }> {
  collectDefaultMetrics({ register: metrics });
  metrics.registerMetric(
    new Gauge({
      name: 'guestfs_sessions',
      help: 'Sessions, by state.',
      labelNames: ['state'] as const,
      registers: [],
      collect() {
        for (const state of STATES) this.set({ state }, registry.count(state));
      },
    }),
  );
  if (waitingClones() !== undefined) {
    metrics.registerMetric(
      new Gauge({
        name: 'guestfs_pool_waiting_clones',
        help: 'Clones in the pool, waiting for sessions.',
        registers: [],
        collect() {
          this.set(waitingClones() ?? 0);
        },
      }),
    );
  }
  const server: HttpServer = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    metrics.metrics().then(
      (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  const { host, port } = splitAddress(listen) ?? { host: '127.0.0.1', port: 0 };
  server.listen(port, host);
  await once(server, 'listening');
  return {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

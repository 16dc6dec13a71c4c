/**
 * What operators ask over HTTP: /metrics for Prometheus, /healthz (the process works), /readyz (the server serves) and
 * /readyz/sessions (it takes new sessions) for orchestrators and proxies that do not use gRPC's health service.
 */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../common/logger.js';
import { splitAddress } from './address.js';
import { metrics } from './metrics.js';
import { keepShort } from './shortConnections.js';

/** Scrapers are few; more would take descriptors from sessions. */
const MAX_CONNECTIONS = 32;
/** How long an answer about readiness holds, milliseconds: probes cost something. */
const READY_KEPT_MS = 1000;

/** Why the server is not ready; undefined: it is. */
export type Readiness = () => Promise<string | undefined>;

export interface OperationsServer {
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves at an address of the form host:port.
 * @param room readiness for new sessions, of a server that is ready otherwise; undefined: it is not asked for
 */
export async function serveOperations(
  listen: string,
  readiness: Readiness,
  room: (() => string | undefined) | undefined,
  logger: Logger,
): Promise<OperationsServer> {
  const ready = keptFor(READY_KEPT_MS, readiness);
  const tell = (response: ServerResponse, reason: string | undefined): void =>
    plain(response, reason === undefined ? 200 : 503, reason ?? 'ok');
  const answers: Readonly<Record<string, (response: ServerResponse) => Promise<void>>> = {
    '/metrics': async (response) => {
      const text = await metrics.metrics();
      response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
    },
    '/healthz': async (response) => void plain(response, 200, 'ok'),
    '/readyz': async (response) => tell(response, await ready()),
    ...(room && { '/readyz/sessions': async (response) => tell(response, (await ready()) ?? room()) }),
  };
  const paths = Object.keys(answers).join(', ');
  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    const answer = Object.hasOwn(answers, path) ? answers[path] : undefined;
    if (answer === undefined) return void plain(response, 404, `not found: ${paths}`);
    if (request.method !== 'GET' && request.method !== 'HEAD') return void plain(response, 405, 'GET or HEAD');
    answer(response).catch((error: unknown) => {
      logger.error('a question of an operator could not be answered', { path, err: error });
      if (!response.headersSent) plain(response, 500, 'failed: the log has the reason');
    });
  });
  keepShort(server, MAX_CONNECTIONS);
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

function plain(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}

/** The same answer to all who ask within that time. */
function keptFor<Value>(milliseconds: number, ask: () => Promise<Value>): () => Promise<Value> {
  let kept: { readonly value: Promise<Value>; readonly until: number } | undefined;
  return () => {
    const now = performance.now();
    if (kept === undefined || now > kept.until) kept = { value: ask(), until: now + milliseconds };
    return kept.value;
  };
}

/**
 * An HTTP/2 proxy that makes an attempt anew when the server does not answer in time, with the same headers and the same
 * data, as Envoy and others do with retries on; when it gives up, its client gets UNAVAILABLE.
 */
import { once } from 'node:events';
import {
  connect,
  constants,
  createServer,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface RetryingOptions {
  /** Time limit of an attempt, milliseconds. */
  readonly attemptMs: number;
  readonly attempts: number;
  /** The answer to an attempt with this number, from 1, is lost on the way. */
  readonly loses?: (attempt: number) => boolean;
}

export interface RetryingProxy {
  /** Where clients connect to. */
  readonly address: string;
  /** How many attempts were made, by path. */
  readonly attempts: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly data: Buffer;
  readonly trailers: IncomingHttpHeaders;
}

const unsent = (headers: IncomingHttpHeaders): Record<string, string | string[] | undefined> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));

/** A proxy to a server at an address of the form host:port. */
export async function retryingProxy(address: string, options: RetryingOptions): Promise<RetryingProxy> {
  const upstream = connect(`http://${address}`);
  upstream.on('error', () => undefined);
  const attempts = new Map<string, number>();
  const sessions = new Set<Http2Session>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
  });

  const attempt = async (headers: IncomingHttpHeaders, data: Buffer): Promise<Answer | undefined> => {
    const path = String(headers[':path']);
    attempts.set(path, (attempts.get(path) ?? 0) + 1);
    const request = upstream.request({ ...unsent(headers), ':method': 'POST', ':path': path });
    request.on('error', () => undefined);
    request.end(data);
    const parts: Buffer[] = [];
    request.on('data', (bytes: Buffer) => parts.push(bytes));
    let first: IncomingHttpHeaders = {};
    let last: IncomingHttpHeaders = {};
    request.on('response', (received) => {
      first = received;
    });
    request.on('trailers', (received) => {
      last = received;
    });
    const ended = new Promise<'ended'>((resolve) => request.once('close', () => resolve('ended')));
    const limit = new AbortController();
    const late = delay(options.attemptMs, 'late', { signal: limit.signal }).catch(() => 'late');
    const how = await Promise.race([ended, late]);
    limit.abort();
    if (how === 'late') {
      request.close(constants.NGHTTP2_CANCEL);
      return undefined;
    }
    return { headers: first, data: Buffer.concat(parts), trailers: last };
  };

  const serve = async (client: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> => {
    client.on('error', () => undefined);
    const parts: Buffer[] = [];
    for await (const bytes of client) parts.push(bytes as Buffer);
    const path = String(headers[':path']);
    for (let number = 1; number <= options.attempts; number += 1) {
      const answer = await attempt(headers, Buffer.concat(parts));
      if (answer === undefined || options.loses?.(attempts.get(path) ?? 0) === true) continue;
      const isHeadersOnly = 'grpc-status' in answer.headers;
      client.respond(
        { ...unsent(answer.headers), ':status': 200 },
        isHeadersOnly ? { endStream: true } : { waitForTrailers: true },
      );
      if (isHeadersOnly) return;
      client.once('wantTrailers', () => client.sendTrailers(unsent(answer.trailers)));
      client.end(answer.data);
      return;
    }
    client.respond({ ':status': 503 }, { endStream: true });
  };
  server.on('stream', (client, headers) => void serve(client, headers));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    attempts,
    close: async () => {
      upstream.destroy();
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * The gateway: serves the API to browsers, curl and whatever else speaks HTTP/1.1, by the Connect and gRPC-Web
 * protocols, and passes each call on to a gRPC server, which decides about it as about any other.
 *
 * A process of its own, so that nothing that a web page sends is decoded in the server. Towards the server it is a
 * proxy like Envoy: it says who its client is by `x-forwarded-client-cert`, or passes on the client's token.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { createContextValues } from '@connectrpc/connect';
import { universalRequestFromNodeRequest } from '@connectrpc/connect-node';
import type { UniversalHandler, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { GuestfsError } from '../common/errors.js';
import { limitExceeded } from '../common/limitExceeded.js';
import type { Logger } from '../common/logger.js';
import { REQUEST_LIMIT, requestTooLarge } from '../common/messageLimits.js';
import { onAbort } from '../common/waiting.js';
import { forwardedCertificate } from '../security/forwardedCertificate.js';
import { splitAddress } from '../server/address.js';
import { hasOneRequest, type Api } from './api.js';
import { BrowserGuard, type Admission } from './browserGuard.js';
import { errorFrom } from './connectErrors.js';
import { ConnectionGuard, type ConnectionLimits } from './connectionGuard.js';
import { CALLER, gatewayCalls, withoutEndlessTimeout } from './gatewayCalls.js';
import { countRefused, measureCall, type MeasuredCall, type Measured } from './gatewayMetrics.js';
import { openApi } from './openApi.js';
import {
  CONTENT_TYPES,
  ENVELOPE_BYTES,
  messageIn,
  protocolOf,
  refuse,
  requireProtocol,
  type Protocol,
} from './protocols.js';
import { GatewayMemory, type Held } from './requestMemory.js';
import { checkShape } from './requestShape.js';
import type { Upstream } from './upstream.js';

export interface GatewayLimits extends ConnectionLimits {
  /** Calls at a time from one client. */
  readonly callsPerClient: number;
  /** How long a client may take for the TLS handshake, and for the headers of a request, milliseconds. */
  readonly headersMs: number;
}

export const GATEWAY_LIMITS: GatewayLimits = {
  connections: 256,
  callsPerClient: 64,
  headersMs: 10_000,
  stallMs: 30_000,
};

/** Headers of a request, bytes. */
const HEADERS_LIMIT = 32 * 1024;
/** How long a connection stays open without a request, milliseconds. */
const IDLE_MS = 60_000;
/** When TCP starts to ask whether the other end is still there, milliseconds. */
const KEEPALIVE_MS = 30_000;
const RETRY_AFTER_MS = 1000;
/** Where the description of the API is. */
export const OPENAPI_PATH = '/openapi.json';

/** What a browser must not do with an answer, which can quote a guest: guess its type, show it, keep it. */
const ALWAYS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
};

/** The gateway's own certificate, and the authority of its clients'. */
export type GatewayTls = Pick<SecureContextOptions, 'cert' | 'key' | 'ca'>;

export interface GatewayOptions {
  /** host:port */
  readonly listen: string;
  /** Undefined: plain HTTP. With `ca`, clients need a certificate. */
  readonly tls: GatewayTls | undefined;
  readonly api: Api;
  readonly upstream: Upstream;
  readonly admission: Admission;
  readonly limits: GatewayLimits;
  readonly logger: Logger;
}

export interface Gateway {
  /** The address that it listens on, host:port. */
  readonly address: string;
  /** Certificates for new connections. */
  setTls(tls: GatewayTls): void;
  /** What metrics show. */
  readonly measured: Measured;
  /** Asks clients to make their next calls on another connection; everything is served as before. */
  announceEnd(): void;
  /**
   * Takes no more calls, and resolves once those in flight have ended.
   * @param grace when it aborts, they are cut off
   * @returns how many were cut off
   */
  close(grace: AbortSignal): Promise<number>;
}

/** Starts serving. */
export async function serveGateway(options: GatewayOptions): Promise<Gateway> {
  const { tls, limits, listen } = options;
  const serving = new Serving(options);
  const answer = (request: IncomingMessage, response: ServerResponse): void => serving.answer(request, response);
  const settings = {
    maxHeaderSize: HEADERS_LIMIT,
    headersTimeout: limits.headersMs,
    // The body has its own limit, by its progress.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(limits.headersMs, 1000),
    keepAliveTimeout: IDLE_MS,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    noDelay: true,
    requireHostHeader: true,
    insecureHTTPParser: false,
  };
  const server =
    tls === undefined
      ? createHttpServer(settings, answer)
      : createHttpsServer(
          {
            ...{ ...settings, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: limits.headersMs },
            ...{ requestCert: tls.ca !== undefined, rejectUnauthorized: tls.ca !== undefined },
          },
          answer,
        );
  const connections = serving.guard(server);
  const { host, port } = splitAddress(listen) ?? { host: '127.0.0.1', port: 0 };
  server.listen(port, host);
  await once(server, 'listening');
  const close = async (grace: AbortSignal): Promise<number> => {
    let cutOff = 0;
    const closed = once(server, 'close');
    serving.ends();
    server.close();
    connections.closeIdle();
    const stop = onAbort(grace, () => {
      cutOff = serving.callsInFlight;
      connections.close();
    });
    await closed;
    stop();
    connections.close();
    return cutOff;
  };
  return {
    address: listen.replace(/:\d+$/, `:${(server.address() as AddressInfo).port}`),
    measured: { connections: () => connections.size, memory: () => serving.heldMemory },
    announceEnd: () => serving.ends(),
    setTls: (context) => (server as HttpsServer).setSecureContext({ ...context, minVersion: 'TLSv1.2' }),
    close,
  };
}

class Serving {
  readonly #options: GatewayOptions;
  readonly #guard: BrowserGuard;
  readonly #handlers: ReadonlyMap<string, UniversalHandler>;
  readonly #memory = new GatewayMemory();
  /** Calls in flight, by client. */
  readonly #calls = new Map<string, number>();
  #connections: ConnectionGuard | undefined;
  #isEnding = false;
  #description: string | undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#guard = new BrowserGuard(options.admission);
    this.#handlers = gatewayCalls(options.api, options.upstream, options.logger);
  }

  guard(server: Server): ConnectionGuard {
    return (this.#connections = new ConnectionGuard(server, this.#options.limits));
  }

  get callsInFlight(): number {
    let sum = 0;
    for (const calls of this.#calls.values()) sum += calls;
    return sum;
  }

  /** Bytes of requests on their way to the server. */
  get heldMemory(): number {
    return this.#memory.held;
  }

  /** From now on, connections are closed after the request that is being answered. */
  ends(): void {
    this.#isEnding = true;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    // It is destroyed with its connection, which is how calls learn of it.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    if (this.#connections?.watch(request, response) !== true) return;
    setHeaders(response, ALWAYS);
    if (this.#isEnding) response.setHeader('connection', 'close');
    const objection = this.#guard.objection(request);
    if (objection !== undefined) return plain(response, 403, 'permission_denied', objection);
    setHeaders(response, this.#guard.headersFor(request.headers));
    const { method, url = '' } = request;
    if (url === OPENAPI_PATH) return this.#describe(request, response);
    if (method === 'OPTIONS' && request.headers.origin !== undefined)
      return void response.writeHead(204, this.#guard.preflightHeaders(request.headers)).end();
    if (method !== 'POST')
      return plain(response.setHeader('allow', 'POST'), 405, 'unimplemented', 'calls are made by POST');
    const protocol = protocolOf(request);
    if (protocol === undefined) return plain(response, 415, 'invalid_argument', CONTENT_TYPES);
    const handler = this.#handlers.get(url);
    if (handler === undefined) return this.#unknown(response, protocol, url);
    const measured = measureCall(protocol, response);
    this.#call(handler, protocol, request, response, measured).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) {
        // Cut off, so that what was sent does not look complete.
        response.destroy();
        return;
      }
      const shown = errorFrom(error, this.#options.logger);
      measured.ended(shown.code as number);
      refuse(response, protocol, shown);
    });
  }

  #describe({ method, headers }: IncomingMessage, response: ServerResponse): void {
    if (method === 'OPTIONS' && headers.origin !== undefined)
      return void response
        .writeHead(204, { ...this.#guard.preflightHeaders(headers), 'access-control-allow-methods': 'GET' })
        .end();
    if (method !== 'GET' && method !== 'HEAD')
      return plain(response.setHeader('allow', 'GET, HEAD'), 405, 'unimplemented', 'this is read by GET');
    this.#description ??= JSON.stringify(openApi(this.#options.api));
    response.writeHead(200, { 'content-type': 'application/json' }).end(this.#description);
  }

  #unknown(response: ServerResponse, protocol: Protocol, url: string): void {
    const error = errorFrom(
      new GuestfsError('NOT_OVER_NETWORK', `there is no RPC at ${url.slice(0, 200)}; ${OPENAPI_PATH} lists all`),
      this.#options.logger,
    );
    if (protocol.kind === 'grpc-web') {
      countRefused(404);
      refuse(response, protocol, error);
    } else plain(response, 404, 'unimplemented', error.rawMessage);
  }

  async #call(
    handler: UniversalHandler,
    protocol: Protocol,
    request: IncomingMessage,
    response: ServerResponse,
    measured: MeasuredCall,
  ): Promise<void> {
    requireProtocol(protocol, handler.method);
    const { client, certificate } = clientOf(request);
    this.#begin(client);
    const held = this.#memory.for(client);
    try {
      const values = createContextValues().set(CALLER, {
        ...{ client, certificate, held, ended: (code: number) => measured.ended(code) },
        opened: (headers) => {
          // The client may be gone, or have its answer: then the server's comes too late.
          if (response.headersSent || response.destroyed) return;
          response.writeHead(200, Object.fromEntries(headers)).flushHeaders();
        },
      });
      const universal = universalRequestFromNodeRequest(request, response, undefined, values);
      withoutEndlessTimeout(universal.header);
      const body = hasOneRequest(handler.method)
        ? wholeBody(await this.#read(handler, protocol, request, held))
        : counted(request, held);
      await send(await handler({ ...universal, body }), response);
    } finally {
      held.end();
      this.#end(client);
    }
  }

  #begin(client: string): void {
    const calls = this.#calls.get(client) ?? 0;
    const { callsPerClient: maximum } = this.#options.limits;
    if (calls >= maximum)
      throw limitExceeded(`${calls} calls of this client are in flight at this gateway, which is the limit`, {
        ...{ limit: 'max-calls-per-client', maximum, retryAfterMs: RETRY_AFTER_MS },
      });
    this.#calls.set(client, calls + 1);
  }

  #end(client: string): void {
    const calls = (this.#calls.get(client) ?? 1) - 1;
    if (calls === 0) this.#calls.delete(client);
    else this.#calls.set(client, calls);
  }

  /**
   * Reads the body of a call with one request.
   * @throws GuestfsError MESSAGE_TOO_LARGE, LIMIT_EXCEEDED, BAD_ARGUMENT
   */
  async #read({ method }: UniversalHandler, protocol: Protocol, request: IncomingMessage, held: Held): Promise<Buffer> {
    const limit = REQUEST_LIMIT + ENVELOPE_BYTES;
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > limit) throw requestTooLarge(method.name, 'server', REQUEST_LIMIT, announced);
    const chunks: Buffer[] = [];
    let size = 0;
    // Not destroyed with the loop: the client is to get the error.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw requestTooLarge(method.name, 'server', REQUEST_LIMIT, undefined);
      held.add(chunk.length);
      chunks.push(chunk);
    }
    const body = Buffer.concat(chunks);
    checkShape(method.input, protocol.encoding, messageIn(protocol, body));
    return body;
  }
}

function setHeaders(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
}

/** Who makes a request. */
function clientOf({ socket }: IncomingMessage): { readonly client: string; readonly certificate: string | undefined } {
  const certificate = 'encrypted' in socket ? (socket as TLSSocket).getPeerCertificate() : undefined;
  // Node.js has an empty object for a client without a certificate.
  if (certificate?.fingerprint256 === undefined) return { client: socket.remoteAddress ?? '', certificate: undefined };
  return { client: certificate.fingerprint256, certificate: forwardedCertificate(certificate) };
}

async function* wholeBody(body: Buffer): AsyncGenerator<Uint8Array> {
  yield body;
}

/** The body of an upload. */
async function* counted(request: IncomingMessage, held: Held): AsyncGenerator<Uint8Array> {
  for await (const chunk of request as AsyncIterable<Buffer>) {
    held.add(chunk.length);
    yield chunk;
  }
}

async function send(answer: UniversalServerResponse, response: ServerResponse): Promise<void> {
  if (!response.headersSent) response.writeHead(answer.status, Object.fromEntries(answer.header ?? []));
  if (answer.body === undefined) response.end();
  else await pipeline(answer.body, response);
}

/** Answers a request that is no call: in the form of Connect's errors, which curl and browsers can show. */
function plain(response: ServerResponse, status: number, code: string, message: string): void {
  countRefused(status);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ code, message }));
}

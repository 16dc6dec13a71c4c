/** A gateway in this process, in front of any server. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from 'node:http';
import type { DescService, Message } from '@bufbuild/protobuf';
import type { CallOptions } from '@connectrpc/connect';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { credentials } from '@grpc/grpc-js';
import { silentLogger } from '../../src/common/logger.js';
import { readApi, type Api } from '../../src/gateway/api.js';
import {
  GATEWAY_LIMITS,
  serveGateway,
  type Gateway,
  type GatewayLimits,
  type GatewayOptions,
} from '../../src/gateway/gateway.js';
import { Upstream, type UpstreamOptions } from '../../src/gateway/upstream.js';

export interface FakeGatewayOptions extends Partial<Pick<GatewayOptions, 'tls' | 'admission' | 'logger'>> {
  readonly limits?: Partial<GatewayLimits>;
  readonly upstream?: Partial<UpstreamOptions>;
}

export interface FakeGateway {
  /** host:port */
  readonly address: string;
  readonly gateway: Gateway;
  readonly api: Api;
  stop(): Promise<void>;
}

export async function startGateway(server: string, options: FakeGatewayOptions = {}): Promise<FakeGateway> {
  const { tls, admission = { origins: [], hosts: [] }, limits, logger = silentLogger } = options;
  const upstream = new Upstream({
    ...{ address: server, credentials: () => credentials.createInsecure(), hasIdentity: false, logger },
    ...options.upstream,
  });
  const api = await readApi();
  const gateway = await serveGateway({
    ...{ listen: '127.0.0.1:0', tls, api, upstream, admission, logger },
    limits: { ...GATEWAY_LIMITS, ...limits },
  });
  return {
    address: gateway.address,
    gateway,
    api,
    stop: async () => {
      const over = new AbortController();
      over.abort(new Error('the test is over'));
      await gateway.close(over.signal);
      upstream.close();
    },
  };
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request with any headers, which fetch would not send. */
export async function http(
  address: string,
  path: string,
  { method = 'POST', headers = {}, body = '' }: { method?: string; headers?: OutgoingHttpHeaders; body?: string } = {},
): Promise<HttpAnswer> {
  const request = httpRequest(`http://${address}`, { method, path, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString();
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

/** A connection on which the test writes the bytes; resolves with all that arrived, once it is closed. */
export function rawConnection(address: string): { readonly socket: Socket; readonly closed: Promise<string> } {
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host);
  let text = '';
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
  return { socket, closed: new Promise((resolve) => socket.once('close', () => resolve(text))) };
}

/** A method of a client whose types are known at run time only. */
export type AnyUnary = (request: object, options?: CallOptions) => Promise<Message & Record<string, unknown>>;
export type AnyServerStream = (
  request: object,
  options?: CallOptions,
) => AsyncIterable<Message & Record<string, unknown>>;
export type AnyClientStream = (
  requests: AsyncIterable<object>,
  options?: CallOptions,
) => Promise<Message & Record<string, unknown>>;

/** The two protocols, each in both encodings. */
export const PROTOCOLS = [
  ['Connect with JSON', 'connect', false],
  ['Connect with protobuf', 'connect', true],
  ['gRPC-Web with protobuf', 'grpc-web', true],
  ['gRPC-Web with JSON', 'grpc-web', false],
] as const;

/** A method of a service, called by a client of Connect's own library. */
export function methodOf<Method>(
  { address, api }: FakeGateway,
  service: string,
  method: string,
  protocol: 'connect' | 'grpc-web',
  useBinaryFormat: boolean,
): Method {
  const options = { baseUrl: `http://${address}`, httpVersion: '1.1', useBinaryFormat } as const;
  const transport = protocol === 'connect' ? createConnectTransport(options) : createGrpcWebTransport(options);
  const declared = api.registry.getService(`guestfs.v1.${service}`) as DescService;
  const client = createClient(declared, transport) as unknown as Record<string, Method>;
  const found = client[method];
  if (found === undefined) throw new Error(`${service} has no method ${method}`);
  return found;
}

/** A web server for one file that does what real ones do at times, and should not. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificates.js';
import type { Login } from './diskServers.js';

/** What it does wrong with a request. */
export type Fault =
  | { readonly kind: 'none' }
  /** Accepts the request and never answers. */
  | { readonly kind: 'silent' }
  /** Sends the start of what was asked for, and then nothing more. */
  | { readonly kind: 'stalls' }
  /** Sends the start of what was asked for, and closes the connection. */
  | { readonly kind: 'breaks' }
  /** Sends the whole file, whatever was asked for. */
  | { readonly kind: 'no ranges' }
  | { readonly kind: 'status'; readonly code: number }
  /** With the status 302. */
  | { readonly kind: 'redirect'; readonly to: string };

export interface FaultyWebServer {
  /** In the form that `add_drive` expects. */
  readonly address: string;
  /** What it does from now on; nothing wrong at first. */
  fault: Fault;
  /** The user and password that it requires; none at first. */
  login: Login | undefined;
  /** How many requests there were. */
  requests(): number;
  stop(): Promise<void>;
}

/** Starts it. */
export async function faultyWebServer(content: Buffer, certificate?: Certificate): Promise<FaultyWebServer> {
  let requests = 0;
  const state: Pick<FaultyWebServer, 'fault' | 'login'> = { fault: { kind: 'none' }, login: undefined };
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    requests += 1;
    const { fault, login } = state;
    if (login !== undefined && request.headers.authorization !== basic(login))
      return void response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="disks"' }).end();
    if (fault.kind === 'silent') return;
    if (fault.kind === 'status') return void response.writeHead(fault.code).end();
    if (fault.kind === 'redirect') return void response.writeHead(302, { Location: fault.to }).end();
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const isPart = range !== null && fault.kind !== 'no ranges';
    const start = isPart ? Number(range[1]) : 0;
    const end = isPart ? Math.min(Number(range[2]), content.length - 1) : content.length - 1;
    response.writeHead(isPart ? 206 : 200, {
      'Content-Length': end - start + 1,
      ...(fault.kind === 'no ranges' ? {} : { 'Accept-Ranges': 'bytes' }),
      ...(isPart ? { 'Content-Range': `bytes ${start}-${end}/${content.length}` } : {}),
    });
    const body = content.subarray(start, end + 1);
    if (request.method === 'HEAD') response.end();
    else if (fault.kind !== 'stalls' && fault.kind !== 'breaks') response.end(body);
    else response.write(body.subarray(0, body.length / 2), () => fault.kind === 'breaks' && response.destroy());
  };
  const server =
    certificate === undefined
      ? createServer(answer)
      : createTlsServer({ key: readFileSync(certificate.key), cert: readFileSync(certificate.certificate) }, answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(state, {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  });
}

const basic = ({ user, password }: Login): string => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

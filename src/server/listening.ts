/**
 * Binds the server to its address: host:port, or `unix:/path` for a socket protected by file permissions; or takes over
 * a socket that listens there already.
 */
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { messageOf } from '../common/errors.js';
import { addressText, socketPath } from './address.js';
import { http2ServersOf } from './grpcInternals.js';
import type { PeerUsers } from './peerUsers.js';

/** Only the server's own user may connect until the socket has its mode. */
const CLOSED_UMASK = 0o177;

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

/** Whether a process accepts connections on a socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (answered: boolean) => (): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', end(true));
    socket.once('error', end(false));
  });
}

/**
 * Removes the socket of a server that was killed.
 * @throws Error if the path is not free
 */
async function clear(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error('it exists and is not a socket');
  if (await isAnswered(path)) throw new Error('another server is listening on it');
  await unlink(path);
}

async function listenOnSocket(
  server: Server,
  path: string,
  { socketMode, credentials, peerUsers }: Listening,
): Promise<void> {
  await clear(path);
  const umask = process.umask(CLOSED_UMASK);
  try {
    await bind(server, `unix:${path}`, credentials);
    // No connection can have been accepted yet.
    for (const bound of http2ServersOf(server)) peerUsers?.watch(bound);
  } finally {
    process.umask(umask);
  }
  await chmod(path, socketMode);
}

/** Takes over a socket that listens already. grpc-js has servers without a socket, for connections from elsewhere. */
async function listenOnDescriptor(
  server: Server,
  descriptor: number,
  { listen, credentials, peerUsers }: Listening,
): Promise<void> {
  const others = new Set(http2ServersOf(server));
  server.createConnectionInjector(credentials);
  const [http2Server] = http2ServersOf(server).filter((one) => !others.has(one));
  if (http2Server === undefined) throw new Error('grpc-js has changed: a connection injector has no HTTP/2 server');
  if (socketPath(listen) !== undefined) peerUsers?.watch(http2Server);
  await new Promise<void>((resolve, reject) => {
    http2Server.once('error', reject);
    http2Server.listen({ fd: descriptor }, () => {
      http2Server.off('error', reject);
      resolve();
    });
  });
}

/** Where to listen. */
export interface Listening {
  readonly listen: string;
  /** A socket that listens on this address already. */
  readonly descriptor?: number | undefined;
  /** Mode of a Unix socket. */
  readonly socketMode: number;
  readonly credentials: ServerCredentials;
  /** To be told of the connections to a Unix socket. */
  readonly peerUsers?: PeerUsers | undefined;
}

/**
 * Starts listening.
 * @returns the address, with the port that was bound
 */
export async function startListening(server: Server, listening: Listening): Promise<string> {
  const { listen, descriptor, credentials } = listening;
  if (descriptor !== undefined) {
    await listenOnDescriptor(server, descriptor, listening);
    return listen;
  }
  const path = socketPath(listen);
  if (path === undefined) return addressText(listen, await bind(server, listen, credentials));
  try {
    await listenOnSocket(server, path, listening);
  } catch (error) {
    throw new Error(`cannot listen on ${listen}: ${messageOf(error)}`, { cause: error });
  }
  return listen;
}
